"""The OpenAPI document of the rooms, at `/openapi.json`, and the page that shows it, at `/docs`.

Below `/docs/errors` each error code has a page.
"""

import asyncio
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from outlast import __version__
from outlast.http.document import document
from outlast.http.errors import ERRORS
from outlast.http.room import Room
from outlast.http.spool import json_response

_DESCRIPTION: Final = """Run AI agents durably: an execution outlasts a client that hangs up, a
deploy, a crash. Send `Authorization: Bearer <key>`, `Authorization: <key>` or
`X-Api-Key: <key>`."""
_HTML: Final = "text/html; charset=utf-8"
_ROOTS: Final = 8
"""Prefixes of paths whose page is kept; a proxy in front has one or a few."""


class Reference:
    """What the server says of its own API."""

    def __init__(self, rooms: Iterable[Room]) -> None:
        self._rooms = tuple(rooms)
        self.document = cache(self._document)
        """Returns the OpenAPI 3.1 document."""
        self._shown = lru_cache(_ROOTS)(self._rendered)
        """Returns the page of the document and its policy, for a prefix of the paths."""
        self.routes = [
            Route("/openapi.json", self._answer),
            Route("/docs", self._page),
            Route(ERRORS, _errors),
            Route(ERRORS + "/{code}", _errors),
        ]

    def _document(self) -> dict[str, Any]:
        info = {"title": "Outlast", "description": _DESCRIPTION, "version": __version__}
        made = document(info, self._rooms)
        made["paths"] |= _health_paths()
        return made

    async def _answer(self, request: Request) -> Response:
        root = _root(request)
        servers = {"servers": [{"url": root}]} if root else {}
        document = await asyncio.to_thread(self.document)
        return json_response({**document, **servers})

    async def _page(self, request: Request) -> Response:
        return _shown(*await asyncio.to_thread(self._shown, _root(request)))

    def _rendered(self, root: str) -> tuple[str, str]:
        from outlast.reference.page import render

        return render(self.document(), root)


async def _errors(request: Request) -> Response:
    """Answer the page of an error's code, or the list of all."""
    from outlast.reference.errors import render

    found = await asyncio.to_thread(render, request.path_params.get("code"), _root(request))
    if found is None:
        raise HTTPException(404)
    return _shown(*found)


def _shown(content: str, policy: str) -> Response:
    return Response(content, headers={"Content-Type": _HTML, "Content-Security-Policy": policy})


def _root(request: Request) -> str:
    """Return the prefix of the server's paths as seen from outside."""
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")


def _health_paths() -> dict[str, Any]:
    def operation(name: str, summary: str, statuses: dict[str, str], media: str) -> dict[str, Any]:
        answers = {
            status: {"description": description, "content": {media: {}}}
            for status, description in statuses.items()
        }
        return {
            "get": {
                "operationId": name,
                "summary": summary,
                "tags": ["health"],
                "security": [],
                "responses": answers,
            }
        }

    json = "application/json"
    return {
        "/healthz": operation("getHealth", "Whether the process lives", {"200": "It does."}, json),
        "/readyz": operation(
            "getReadiness",
            "Whether it takes work",
            {"200": "It does.", "503": "It does not; `reason` says why."},
            json,
        ),
        "/metrics": operation("getMetrics", "Prometheus metrics", {"200": "Text."}, "text/plain"),
    }
