"""The tools of MCP servers: lists that are kept for a while, and calls over shared connections."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import mcp_types
import structlog
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from outlast.agents.mcp.connection import Connection, failure_text
from outlast.agents.mcp.elicitation import Call, input_responses, needed
from outlast.agents.mcp.http import FORGOTTEN, LOST, NOT_SENT, REFUSED
from outlast.agents.mcp.listing import missing_tools, tool_specs
from outlast.agents.mcp.result import result_of
from outlast.agents.mcp.server import KEY, McpServer, Target, target_of
from outlast.agents.mcp.shared import SharedServer
from outlast.agents.mcp.task_results import cancel_task, result_of_task
from outlast.agents.mcp.tasks import RAW, Called, Task, read
from outlast.agents.mcp.waiting_calls import WaitingCalls
from outlast.agents.outgoing import Outgoing
from outlast.agents.port import InputNeeded, ToolContext
from outlast.agents.tools.kind import Resources
from outlast.model.agent import ToolSpec
from outlast.model.error import ToolFailed, ToolsUnavailable, ToolTimeout
from outlast.model.text import shortened

IDLE_SECONDS: Final = 60.0
"""How long a connection without a request is kept."""
IDEMPOTENCY_KEY: Final = "outlast/idempotency-key"
"""In a call's `_meta`: the same whenever this call is made again."""
EXECUTION: Final = "outlast/execution-id"
_KEPT: Final = 64
"""Servers from which those that are unused are forgotten; each set of forwarded headers is one."""
_SHOWN_BYTES: Final = 2_048
_UNKNOWN: Final = "It is not known whether the call had its effect."
logger = structlog.get_logger(__name__)


class McpTools:
    """Lists and calls the tools of MCP servers."""

    def __init__(self, resources: Resources) -> None:
        self._clock = resources.clock
        self._environ = resources.environ
        self._store = resources.store
        self._outgoing = Outgoing(
            {"user-agent": "outlast", "accept-encoding": "identity"}, connector=resources.connector
        )
        self._servers: dict[str, SharedServer] = {}

    @property
    def connections(self) -> int:
        """Connections that are not closed."""
        return sum(one.connections for one in self._servers.values())

    async def listed(
        self, source: ToolSpec, context: ToolContext, taken: frozenset[str]
    ) -> tuple[ToolSpec, ...]:
        """Return the tools of a source. Raises ToolsUnavailable if its server cannot list them."""
        server = McpServer.of(source.other[KEY])
        try:
            target = target_of(source.name, server, context, self._environ)
            listing = await self._shared(target).listing()
        except ToolFailed as error:
            raise ToolsUnavailable(error.message) from error
        if missing := missing_tools(server, listing):
            names = ", ".join(missing)
            logger.warning("mcp.tools_missing", server=source.name, tools=names)
        return tool_specs(source, listing, taken)

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        """Call a tool within its timeout. Raises ToolFailed and ToolTimeout."""
        stored = spec.other[KEY]
        if "tool" not in stored:
            raise ToolFailed(
                f"{spec.name} stands for the tools of an MCP server; call one of them."
            )
        server = McpServer.of(stored["server"])
        target = target_of(stored["source"], server, context, self._environ)
        waiting = self._shared(target).waiting
        waiting.remove(context.tool_call_id)
        try:
            return await self._within_time(spec, server, target, arguments, context)
        except InputNeeded:
            if target.url is None:
                waiting.add(context)
            raise
        except ToolFailed as failed:
            failed.hide(target.secrets.hide)
            raise

    async def _within_time(
        self,
        spec: ToolSpec,
        server: McpServer,
        target: Target,
        arguments: dict[str, Any],
        context: ToolContext,
    ) -> Any:
        deadline = asyncio.timeout(spec.timeout)
        try:
            async with deadline:
                call = Call(target, context, deadline)
                found: Called | Task = (
                    await self._answer(spec, target, arguments, context, call)
                    if context.handle is None
                    else Task(str(context.handle.get("task")))
                )
        except TimeoutError:
            if not deadline.expired():
                raise
            failure = f"{target.name} did not answer within {spec.timeout:g} s."
            raise ToolTimeout(_maybe_run(spec, failure).message) from None
        if isinstance(found, Task):
            if context.handle is None and context.defer is not None:
                await context.defer(found.handle())
            shared = self._shared(target)
            with shared.waiting.polled():
                found = await result_of_task(found, target, shared, self._clock, context)
        elif isinstance(found, mcp_types.InputRequiredResult):
            requests: Mapping[str, Any] = found.input_requests or {}
            raise needed(target, context, requests, found.request_state)
        result = result_of(target, found, server.max_result_bytes, context.images)
        return target.secrets.hide_in_result(result)

    async def _answer(
        self,
        spec: ToolSpec,
        target: Target,
        arguments: dict[str, Any],
        context: ToolContext,
        call: Call,
    ) -> Called | Task:
        """Send a call, once, with the input that it has ended for want of. Raises ToolFailed."""
        name: str = spec.other[KEY]["tool"]
        shared = self._shared(target)
        connection = await shared.connected()
        if not shared.has(name):
            raise ToolFailed(f"The MCP server {target.name} no longer has the tool {name!r}.")
        meta: Any = {
            IDEMPOTENCY_KEY: context.tool_call_id,
            EXECUTION: context.execution_id,
        }
        given = context.given
        params = mcp_types.CallToolRequestParams(
            name=name,
            arguments=arguments,
            _meta=meta,
            input_responses=None if given is None else input_responses(given.answers),
            request_state=None if given is None else given.request.state,
        )
        request = mcp_types.CallToolRequest(params=params)
        try:
            async with connection.used(call) as session:
                return read(await session.send_request(request, RAW))
        except MCPError as error:
            raise await self._failure(spec, target, connection, error) from error
        except (ValidationError, ValueError, RuntimeError) as error:
            failure = f"The MCP server {target.name} answered with what is not valid MCP."
            raise _maybe_run(spec, failure) from error

    async def give_up(self, source: ToolSpec, handle: dict[str, Any], context: ToolContext) -> None:
        """Inform the server that the result of a task is not wanted.

        Raises ToolFailed if it cannot be informed in some 30 s.
        """
        target = target_of(source.name, McpServer.of(source.other[KEY]), context, self._environ)
        try:
            await cancel_task(str(handle.get("task")), self._shared(target), self._clock)
        except (MCPError, ToolFailed, TimeoutError, ValidationError, RuntimeError) as error:
            raise ToolFailed(target.secrets.hide(failure_text(error))) from error

    async def close(self) -> None:
        """Close every connection, and end every command."""
        servers, self._servers = self._servers, {}
        for one in servers.values():
            await one.close()
        await self._outgoing.close()

    def _shared(self, target: Target) -> SharedServer:
        """Return what runs share of a target."""
        found = self._servers.get(target.key)
        if found is None:
            if len(self._servers) >= _KEPT:
                self._servers = {k: one for k, one in self._servers.items() if not one.is_unused}
            waiting = WaitingCalls(self._store, self._clock)
            found = SharedServer(target, self._outgoing, self._clock, IDLE_SECONDS, waiting)
            self._servers[target.key] = found
        return found

    # --- failures

    async def _failure(
        self, spec: ToolSpec, target: Target, connection: Connection, error: MCPError
    ) -> ToolFailed:
        """Return the error of a call as the model reads it."""
        named = f"The MCP server {target.name}"
        shown = shortened(error.message, _SHOWN_BYTES)
        match error.code:
            case _ if error.code == NOT_SENT:
                failure = ToolFailed(f"The MCP server {target.label} is not called: {shown}.")
            case _ if error.code == FORGOTTEN:
                said = "has forgotten the session, so the call did not run; the next has a new one."
                failure = ToolFailed(f"{named} {said}")
            case _ if error.code == LOST:
                failure = _maybe_run(spec, f"The connection to {target.name} was lost.")
            case _ if error.code == REFUSED:
                cause = f"{named} answered {error.data}."
                failure = _maybe_run(spec, f"{named} {shown}.", cause)
            case mcp_types.PARSE_ERROR:
                cause = f"{named} answered with what cannot be read."
                failure = _maybe_run(spec, f"{cause[:-1]}: {shown}", cause)
            case mcp_types.CONNECTION_CLOSED:
                connection.closed()
                lost = f"The connection to {target.name} was lost"
                failure = _maybe_run(
                    spec, f"{lost}: {await connection.cause() or shown}.", f"{lost}."
                )
            case _:
                cause = f"{named} refused the call."
                failure = ToolFailed(f"{cause[:-1]}: {shown}", cause=cause)
        return failure


def _maybe_run(spec: ToolSpec, failure: str, cause: str | None = None) -> ToolFailed:
    """Return the error of a call that may have had its effect."""
    said = failure if spec.effect.repeatable else f"{failure} {_UNKNOWN}"
    return ToolFailed(said, cause=cause)
