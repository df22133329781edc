"""The kind `http`: its keys in the file, its checks, and the runner, which imports the rest lazily.

`tools.http` imports aiohttp, which takes 0.4 s: it is imported in a thread, before the first call.
"""

import asyncio
import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, Field

from outlast.agents.port import ToolContext
from outlast.agents.problem import Problem, json_problems
from outlast.agents.tools.http_check import http_problems, variable_problems
from outlast.agents.tools.kind import Count, Draft, Entry, Resources, Seconds, ToolEntry, ToolKind
from outlast.agents.tools.request import request_not_ready
from outlast.model.agent import ENVIRONMENT_PROXY, HttpCall, ToolSpec

if TYPE_CHECKING:
    from outlast.agents.tools.http import HttpTools

_NO_ARGUMENTS: Final[dict[str, Any]] = {"type": "object", "properties": {}}
_UNNAMED: Final = "unnamed"


class RouteEntry(Entry):
    """Keys of tools that send requests: how these reach their server."""

    proxy: str | bool = False
    ca_file: str | None = None

    def route(self, draft: Draft) -> dict[str, str | None]:
        """Return the fields of an `HttpCall` that these keys mean."""
        return {
            "proxy": stored_proxy(self.proxy),
            "ca_file": None if self.ca_file is None else str(draft.folder.resolve() / self.ca_file),
        }


class HttpEntry(RouteEntry):
    url: str
    method: Annotated[str, AfterValidator(str.upper)] = "POST"
    query: Any = None
    body: Any = None
    send: list[str] = ["user"]  # noqa: RUF012 - pydantic copies it
    headers: dict[str, str] = {}  # noqa: RUF012 - the same
    timeout: Seconds = 30.0
    retries: Annotated[int, Field(ge=0, le=10)] = 0
    max_result_bytes: Count = 262_144


def stored_proxy(given: str | bool) -> str | None:
    """Return the proxy of an `HttpCall`: true is the environment's, false none."""
    if isinstance(given, bool):
        return ENVIRONMENT_PROXY if given else None
    return given


class HttpRunner:
    """Runs HTTP tools."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        self._tools: HttpTools | None = None

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        assert spec.http is not None
        tools = self._tools or await self.loaded()
        return await tools.call(spec, spec.http, arguments, context)

    async def warm_up(self) -> None:
        await (await self.loaded()).warm_up()

    async def close(self) -> None:
        if self._tools is not None:
            await self._tools.close()

    async def loaded(self) -> "HttpTools":
        """Return what sends requests, imported once."""
        if self._tools is None:
            await asyncio.to_thread(importlib.import_module, "outlast.agents.tools.http")
        if self._tools is None:
            from outlast.agents.tools.http import HttpTools

            have = self.resources
            self._tools = HttpTools(have.clock, have.environ, have.connector)
        return self._tools


def _make(entry: ToolEntry, http: HttpEntry, draft: Draft) -> ToolSpec:
    if entry.name is None:
        draft.wrong((), "an HTTP tool needs the key name")
    if entry.timeout is not None:
        draft.wrong(("timeout",), "an HTTP tool's timeout is written under http")
    return ToolSpec(
        _UNNAMED if entry.name is None else entry.name,
        "",
        _NO_ARGUMENTS if entry.parameters is None else entry.parameters,
        timeout=http.timeout,
        http=HttpCall(**http.model_dump() | http.route(draft) | {"send": tuple(http.send)}),
    )


def _problems(spec: ToolSpec) -> Iterator[Problem]:
    assert spec.http is not None
    for path, text in http_problems(spec.http, spec.parameters):
        yield Problem(path, text)
    for key in ("headers", "query", "body"):
        yield from json_problems((key,), getattr(spec.http, key))


def _operators_only(spec: ToolSpec) -> Iterator[Problem]:
    assert spec.http is not None
    for path, text in variable_problems(spec.http):
        yield Problem(path, text)


def _not_ready(spec: ToolSpec, environ: Mapping[str, str]) -> str | None:
    assert spec.http is not None
    return request_not_ready(spec.http, environ)


HTTP: Final = ToolKind(
    "http",
    HttpEntry,
    _make,
    HttpRunner,
    problems=_problems,
    operators_only=_operators_only,
    not_ready=_not_ready,
    max_result_bytes=None,
)
