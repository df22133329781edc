"""The kind `openapi`: operations of an OpenAPI document, each a tool of its own.

The document is read once, with the agents file; what a call needs is stored with the agent's
version.
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from outlast.agents.port import ToolContext
from outlast.agents.problem import Problem
from outlast.agents.tools.http_check import http_problems, variable_problems
from outlast.agents.tools.http_kind import HttpRunner, RouteEntry, stored_proxy
from outlast.agents.tools.kind import Count, Draft, Seconds, ToolEntry, ToolKind
from outlast.agents.tools.request import request_not_ready
from outlast.model.agent import Effect, HttpCall, ToolSpec
from outlast.model.error import Misconfigured

if TYPE_CHECKING:
    from outlast.agents.tools.openapi_call import OpenApiCall
    from outlast.agents.tools.openapi_document import OpenApiDocument, Operation
    from outlast.agents.tools.openapi_operation import Operator

KEY: Final = "openapi"
_SHOWN: Final = 20
"""Operations that an error lists."""


class OpenApiEntry(RouteEntry):
    file: str | None = None
    url: str | None = None
    include: Annotated[list[str], Field(min_length=1)]
    base: str | None = None
    prefix: str = ""
    headers: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it
    query: dict[str, str] = {}  # noqa: RUF012 - the same
    effects: dict[str, Literal["read_only", "idempotent", "destructive"]] = {}  # noqa: RUF012
    send: list[str] = ["user"]  # noqa: RUF012 - the same
    timeout: Seconds = 30.0
    retries: Annotated[int, Field(ge=0, le=10)] = 0
    max_result_bytes: Count = 262_144


class OpenApiRunner(HttpRunner):
    """Runs OpenAPI tools as HTTP tools are run."""

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        from outlast.agents.tools.openapi_call import openapi_request

        tools = await self.loaded()
        call = _call(spec)
        request = openapi_request(call, arguments, context, self.resources.environ)
        return await tools.send(spec, call.http, request)

    async def warm_up(self) -> None:
        """Load nothing: few servers have such tools, and the first call loads what it needs."""


def openapi_tools(
    source: str,
    include: Sequence[str],
    *,
    base: str | None = None,
    prefix: str = "",
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    effects: Mapping[str, str] | None = None,
    approval: bool = False,
    timeout: float = 30.0,
    retries: int = 0,
    proxy: str | bool = False,
    ca_file: str | None = None,
) -> list[ToolSpec]:
    """Return tools for operations of the OpenAPI document in a file or at a URL.

    `include` names operations or tags; `base` is the API's URL if it is not the document's first
    server; `prefix` begins each tool's name; `headers` and `query` are sent with each request, with
    `${NAME}` from the environment; `effects` are by operation (default: by method); `timeout` is in
    seconds; `proxy` is a URL, or true for the environment's; `ca_file` holds certificates in PEM of
    authorities trusted besides the machine's. Raises Misconfigured.
    """
    from outlast.agents.tools.openapi_document import read_document
    from outlast.agents.tools.openapi_operation import Operator

    operator = Operator(
        base,
        dict(headers or {}),
        dict(query or {}),
        timeout=timeout,
        retries=retries,
        proxy=stored_proxy(proxy),
        ca_file=None if ca_file is None else str(Path(ca_file).resolve()),
    )
    document = read_document(source, Path())
    try:
        by_operation = {key: Effect(effect) for key, effect in (effects or {}).items()}
    except ValueError as error:
        raise Misconfigured(f"{source}: effects: {error}") from error
    specs = _specs(document, include, prefix, operator, by_operation)
    return [replace(spec, approval=approval) for spec in specs]


def _make(entry: ToolEntry, given: OpenApiEntry, draft: Draft) -> Sequence[ToolSpec]:
    from outlast.agents.tools.openapi_document import read_document
    from outlast.agents.tools.openapi_operation import Operator

    source = given.file or given.url
    if source is None or (given.file and given.url):
        draft.wrong((KEY,), "a document is named by exactly one of file and url")
        return ()
    if entry.timeout is not None:
        draft.wrong(("timeout",), "the timeout of these tools is written under openapi")
    operator = Operator(
        given.base,
        given.headers,
        given.query,
        tuple(given.send),
        given.timeout,
        given.retries,
        given.max_result_bytes,
        **given.route(draft),
    )
    effects = {key: Effect(effect) for key, effect in given.effects.items()}
    try:
        document = read_document(source, draft.folder)
        specs = _specs(document, given.include, given.prefix, operator, effects)
    except Misconfigured as error:
        draft.wrong((KEY,), error.message)
        return ()
    if entry.name is not None and len(specs) > 1:
        draft.wrong(("name",), f"these are {len(specs)} tools; openapi.prefix begins their names")
    return specs


def _specs(
    document: "OpenApiDocument",
    include: Sequence[str],
    prefix: str,
    operator: "Operator",
    effects: Mapping[str, Effect],
) -> list[ToolSpec]:
    """Return the tools of the operations named by id or tag. Raises Misconfigured."""
    from outlast.agents.tools.openapi_operation import distinct_names, operation_spec

    chosen = _chosen(document, include)
    _require_known(document, effects, {one.given_id for one in chosen})
    names = distinct_names(chosen, prefix)
    made = (operation_spec(one, name, operator) for one, name in zip(chosen, names, strict=True))
    return [
        replace(spec, effect=effects.get(one.given_id, spec.effect))
        for one, spec in zip(chosen, made, strict=True)
    ]


def _chosen(document: "OpenApiDocument", include: Sequence[str]) -> "list[Operation]":
    operations = list(document.operations())
    known = {one.shown for one in operations} | {tag for one in operations for tag in one.tags}
    _require_known(document, include, known)
    wanted = set(include)
    return [one for one in operations if one.shown in wanted or wanted & set(one.tags)]


def _require_known(document: "OpenApiDocument", given: Iterable[str], known: set[str]) -> None:
    """Raise Misconfigured for a name that is none of the known, with names that are like it."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            listed = ", ".join(sorted(known)[:_SHOWN])
            hint = f"did you mean {near[0]}?" if near else f"there are {listed or 'none'}"
            raise Misconfigured(
                f"{document.source}: no operation or tag {name[:80]!r} is included; {hint}"
            )


def _call(spec: ToolSpec) -> "OpenApiCall":
    from outlast.agents.tools.openapi_call import OpenApiCall

    return OpenApiCall.of(spec.other[KEY])


def _http(spec: ToolSpec) -> HttpCall:
    """Return the request as checks of HTTP tools read it."""
    http = _call(spec).http
    return replace(http, method="POST", query=http.query or None)


def _problems(spec: ToolSpec) -> Iterator[Problem]:
    in_path: dict[str, Any] = {
        one.argument: {} for one in _call(spec).parameters if one.place == "path"
    }
    for path, text in http_problems(_http(spec), {"properties": in_path}):
        yield Problem(("base", *path[1:]) if path[:1] == ("url",) else path, text)


def _operators_only(spec: ToolSpec) -> Iterator[Problem]:
    for path, text in variable_problems(_http(spec)):
        yield Problem(path, text)


def _not_ready(spec: ToolSpec, environ: Mapping[str, str]) -> str | None:
    return request_not_ready(_http(spec), environ)


OPENAPI: Final = ToolKind(
    KEY,
    OpenApiEntry,
    _make,
    OpenApiRunner,
    problems=_problems,
    operators_only=_operators_only,
    not_ready=_not_ready,
    own_keys=("parameters",),
    max_result_bytes=None,
)
"""Operations of an OpenAPI document."""
