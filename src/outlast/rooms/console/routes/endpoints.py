"""Makes endpoints of pages: the OpenAPI document leaves the console out, so they say less."""

from typing import Final

from outlast.http.endpoint import PUBLIC, Answer, Endpoint, Handler, Method
from outlast.model.workspace import Scope
from outlast.rooms.console.render.frame import ROOT

_ANSWERS: Final = {200: Answer("A page.", content={"text/html": {}})}
_ACTION_ANSWERS: Final = {303: Answer("Done; the page to go on with.")}


def page_at(
    path: str,
    handler: Handler,
    name: str,
    *,
    scope: Scope | tuple[Scope, ...] = PUBLIC,
    method: Method = "GET",
    rest: str | None = None,
) -> Endpoint:
    """Return the endpoint of a page, or with POST of a form; the path is below the console's."""
    parameters = {
        part[1:-1]: "Id or name."
        for part in path.split("/")
        if part.startswith("{") and part.endswith("}")
    }
    return Endpoint(
        method,
        ROOT + path,
        handler,
        scope=scope,
        name=f"console{name}",
        summary=name,
        tag="console",
        parameters=parameters,
        answers=_ANSWERS if method == "GET" else _ACTION_ANSWERS,
        rest=rest,
    )


ANY_KEY: Final = tuple(Scope)
"""Opened by every key that has a scope."""
