"""The kind `mcp`: tools that an MCP server lists when a segment begins.

The SDK, an extra, is imported in a thread when the first list is needed.
"""

import asyncio
import importlib.util
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import structlog
from pydantic import Field

from outlast.agents.mcp.server import KEY, McpServer
from outlast.agents.port import ToolContext
from outlast.agents.problem import Problem
from outlast.agents.tools.http_check import http_problems, variable_problems
from outlast.agents.tools.http_kind import RouteEntry, stored_proxy
from outlast.agents.tools.kind import Count, Draft, Resources, ToolEntry, ToolKind
from outlast.agents.tools.placeholders import VARIABLE
from outlast.agents.tools.request import request_not_ready
from outlast.model.agent import SOURCE_SEPARATOR, Effect, ToolSpec
from outlast.model.error import Misconfigured, OutlastError
from outlast.model.extra import install

if TYPE_CHECKING:
    from outlast.agents.mcp.client import McpTools

logger = structlog.get_logger(__name__)

_NO_ARGUMENTS: Final[dict[str, Any]] = {"type": "object", "properties": {}}
_LONGEST_NAME: Final = 32
_INFORM_SECONDS: Final = 2.0
"""How long servers that are being informed hold up the end."""
_OPERATORS: Final = "a command of the server is for the operator's own agents file"
_NOT_OURS: Final = ("accept", "mcp-")
"""Beginnings of headers that the protocol uses."""
EffectName = Literal["read_only", "idempotent", "destructive"]
ApprovalName = Literal["always", "never"]


class McpEntry(RouteEntry):
    url: str | None = None
    headers: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it
    command: str | None = None
    args: list[str] = []  # noqa: RUF012 - the same
    env: dict[str, str] = {}  # noqa: RUF012 - the same
    cwd: str | None = None
    tools: Annotated[list[str], Field(min_length=1)] | None = None
    effects: dict[str, EffectName] = {}  # noqa: RUF012 - the same
    approval: dict[str, bool | ApprovalName] = {}  # noqa: RUF012 - the same
    trust: bool = False
    max_result_bytes: Count = 262_144


class McpRunner:
    """Lists and calls the tools of MCP servers."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources
        self._tools: McpTools | None = None
        self._given_up: set[asyncio.Task[None]] = set()
        """Tasks that inform servers; awaited for a moment when this closes."""

    @property
    def connections(self) -> int:
        """Connections that are not closed."""
        return 0 if self._tools is None else self._tools.connections

    def give_up(self, source: ToolSpec, handle: dict[str, Any], context: ToolContext) -> None:
        """Have the server informed that a call's result is not wanted; wait for nothing."""
        work = self._give_up(source, handle, context)
        task = asyncio.get_running_loop().create_task(work, name=f"mcp {source.name} give up")
        self._given_up.add(task)
        task.add_done_callback(self._given_up.discard)

    async def _give_up(
        self, source: ToolSpec, handle: dict[str, Any], context: ToolContext
    ) -> None:
        try:
            tools = self._tools or await self._loaded()
            await tools.give_up(source, handle, context)
        except OutlastError as error:
            logger.warning("mcp.task_not_cancelled", server=source.name, cause=error.message)

    async def listed(
        self, source: ToolSpec, context: ToolContext, taken: frozenset[str]
    ) -> tuple[ToolSpec, ...]:
        """Return the tools that a source stands for. Raises ToolsUnavailable, Misconfigured."""
        tools = self._tools or await self._loaded()
        return await tools.listed(source, context, taken)

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        tools = self._tools or await self._loaded()
        return await tools.call(spec, arguments, context)

    async def warm_up(self) -> None:
        """Load nothing: few servers have such tools, and the first list loads what it needs."""

    async def close(self) -> None:
        if self._given_up:
            await asyncio.wait(self._given_up, timeout=_INFORM_SECONDS)
        for task in set(self._given_up):
            task.cancel()
        if self._tools is not None:
            await self._tools.close()

    async def _loaded(self) -> "McpTools":
        """Return what calls servers, imported once. Raises Misconfigured without the extra."""
        if not _is_installed():
            raise Misconfigured(f"MCP tools need an extra: {install('mcp')}")
        await asyncio.to_thread(importlib.import_module, "outlast.agents.mcp.client")
        if self._tools is None:
            from outlast.agents.mcp.client import McpTools

            self._tools = McpTools(self._resources)
        return self._tools


def mcp_tools(
    name: str,
    *,
    url: str | None = None,
    headers: Mapping[str, str] | None = None,
    command: str | None = None,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
    tools: Sequence[str] | None = None,
    effect: str | None = None,
    effects: Mapping[str, str] | None = None,
    approval: bool | Mapping[str, bool | ApprovalName] = False,
    trust: bool = False,
    timeout: float = 60.0,
    max_result_bytes: int = 262_144,
    proxy: str | bool = False,
    ca_file: str | None = None,
) -> list[ToolSpec]:
    """Return what stands for the tools of an MCP server, at a URL or started as a command.

    The tools are called `name__tool`. `headers`, `args` and `env` may have `${NAME}` from the
    environment. `tools`: those of the server that the agent has, all by default. What a second run
    of a tool would do is said by `effects`, else by `effect`; with `trust` by the server, else it
    is destructive. `approval` is for all, or by tool. `timeout` is of a call, in seconds. `proxy`
    and `ca_file` are those of an HTTP tool. Raises Misconfigured for an unknown effect.
    """
    try:
        by_tool = {tool: Effect(given).value for tool, given in (effects or {}).items()}
        of_all = None if effect is None else Effect(effect).value
    except ValueError as error:
        raise Misconfigured(f"{name}: {error}") from error
    asks = approval if isinstance(approval, Mapping) else {}
    server = McpServer(
        url,
        dict(headers or {}),
        command,
        tuple(args),
        dict(env or {}),
        cwd,
        None if tools is None else tuple(tools),
        of_all,
        by_tool,
        dict(asks),
        trust,
        max_result_bytes,
        stored_proxy(proxy),
        ca_file,
    )
    return [replace(_source(name, server), approval=approval is True, timeout=timeout)]


def _source(name: str, server: McpServer) -> ToolSpec:
    text = f"Tools of the MCP server {name}, listed when an execution begins."
    return ToolSpec(name, text, _NO_ARGUMENTS, other={KEY: server.stored()})


def _make(entry: ToolEntry, given: McpEntry, draft: Draft) -> ToolSpec:
    if entry.name is None:
        draft.wrong((), "an MCP server needs the key name, with which its tools' names begin")
    fields = given.model_dump() | {"args": tuple(given.args), "effect": entry.effect}
    fields |= given.route(draft)
    fields["tools"] = None if given.tools is None else tuple(given.tools)
    if given.cwd is not None:
        fields["cwd"] = str((draft.folder / given.cwd).resolve())
    return _source(entry.name or "unnamed", McpServer(**fields))


def _problems(spec: ToolSpec) -> Iterator[Problem]:
    server = _server(spec)
    if (server.url is None) == (server.command is None):
        yield Problem((), "a server is named by exactly one of url and command")
        return
    if SOURCE_SEPARATOR in spec.name or len(spec.name) > _LONGEST_NAME:
        text = f"a server's name has at most {_LONGEST_NAME} characters and no {SOURCE_SEPARATOR}"
        yield Problem((), text)
    if server.url is not None:
        yield from _http_problems(server)
    else:
        yield from _command_problems(server)
    for key, named in (("effects", server.effects), ("approval", server.approval)):
        for tool in named:
            if server.tools is not None and tool not in server.tools:
                yield Problem((key, tool), f"{tool[:80]!r} is none of the tools named under tools")


def _http_problems(server: McpServer) -> Iterator[Problem]:
    for key in ("args", "env", "cwd"):
        if getattr(server, key):
            yield Problem((key,), "this is for a command")
    for path, text in http_problems(server.http, {}):
        yield Problem(path, text)
    for name in server.headers:
        if name.lower().startswith(_NOT_OURS):
            yield Problem(("headers", name), "this header is written by the protocol; remove it")


def _command_problems(server: McpServer) -> Iterator[Problem]:
    if server.headers:
        yield Problem(("headers",), "this is for a url; a command has env")
    for key in ("proxy", "ca_file"):
        if getattr(server, key) is not None:
            yield Problem((key,), "this is for a url; a command reads its environment")
    for key, texts in (("args", server.args), ("env", server.env.values())):
        if any("${" in VARIABLE.sub("", text) for text in texts):
            yield Problem((key,), "a variable is written ${NAME}, of letters, digits and _")
        if any("\0" in text for text in texts):
            yield Problem((key,), "there is a NUL in it")


def _operators_only(spec: ToolSpec) -> Iterator[Problem]:
    server = _server(spec)
    if server.command is not None:
        yield Problem(("command",), _OPERATORS)
    for path, text in variable_problems(server.http):
        yield Problem(path, text)


def _not_ready(spec: ToolSpec, environ: Mapping[str, str]) -> str | None:
    server = _server(spec)
    if not _is_installed():
        return f"needs an extra: {install('mcp')}"
    if server.url is not None:
        return request_not_ready(server.http, environ)
    unset = sorted(name for name in server.variables() if name not in environ)
    if unset:
        where = "in the environment of the process that runs it"
        return f"needs {', '.join(unset)} {where}: export {unset[0]}=…"
    if (
        server.command is not None
        and shutil.which(server.command, path=environ.get("PATH")) is None
    ):
        return f"needs the command {server.command}, which is not found"
    return None


def _server(spec: ToolSpec) -> McpServer:
    return McpServer.of(spec.other[KEY])


def _is_installed() -> bool:
    return importlib.util.find_spec("mcp") is not None


MCP: Final = ToolKind(
    KEY,
    McpEntry,
    _make,
    McpRunner,
    problems=_problems,
    operators_only=_operators_only,
    not_ready=_not_ready,
    own_keys=("parameters", "description"),
    max_result_bytes=None,
)
"""Tools of MCP servers."""
