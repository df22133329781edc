"""One connection to an MCP server: a task of its own opens it, holds it and closes it.

The SDK's scopes belong to the task that has entered them. So callers only send requests; the owner
opens and closes, and ends the connection when it is idle, has died, or is no longer wanted.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import Context
from typing import Any, Final

import httpx2
import mcp_types
import structlog
from mcp.client import Client, IncomingMessage
from mcp.client.session import ClientRequestContext, ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from outlast.agents.mcp.elicitation import CALL, Call
from outlast.agents.mcp.http import MAX_BYTES, HttpTransport
from outlast.agents.mcp.listing import MAX_TOOLS, ListedTool, effect_of
from outlast.agents.mcp.server import Target
from outlast.agents.mcp.stdio import Command, command
from outlast.agents.mcp.tasks import Tasks
from outlast.agents.mcp.waiting_calls import WaitingCalls
from outlast.agents.outgoing import Outgoing
from outlast.model.error import ToolFailed

CONNECT_SECONDS: Final = 15.0
"""Maximum time to open a connection and to list the tools."""
_CLOSE_SECONDS: Final = 10.0
_EXIT_SECONDS: Final = 1.0
"""How long the reason is waited for when a command has closed its output."""
_PAGES: Final = 100
"""Maximum pages of a list."""
_OF_SSE: Final = frozenset({400, 404, 405, 406, 415})
"""Statuses with which a server of the older HTTP transport answers a `POST` (MCP 2025-11-25,
transports, backwards compatibility)."""
_NOT_ALONE: Final = (
    "Input cannot be given while several calls share this connection; call again by itself."
)
_INFO: Final = mcp_types.Implementation(name="outlast", version="1")

logger = structlog.get_logger(__name__)
for _name in ("mcp", "client"):  # their lines quote what servers send; ours say what happened
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class Connection:
    """A connection, once its owner has opened it."""

    def __init__(
        self, target: Target, outgoing: Outgoing, idle_seconds: float, waiting: WaitingCalls
    ) -> None:
        """It is closed after `idle_seconds` without a request; a command not for `waiting`."""
        self.target = target
        self._outgoing = outgoing
        self._idle_seconds = idle_seconds
        self._waiting = waiting
        self._opened = asyncio.Event()
        self._closing = asyncio.Event()
        self._rested = asyncio.Event()
        """Set after each `idle_seconds` without a request, and when it is closed."""
        self._session: ClientSession | None = None
        self._failure = ""
        self._users = 0
        self._calls: set[Call] = set()
        """Calls under way."""
        self._idle: asyncio.TimerHandle | None = None
        self._http: HttpTransport | None = None
        self._command: Command | None = None
        self._is_streamable = target.url is not None
        self.has_listed = False
        """Whether the tools have been listed on it."""
        self.tools_changed = False
        """Whether the server has said that its list of tools has changed since."""
        self._owner = asyncio.get_running_loop().create_task(
            self._own(), name=f"mcp {target.name}", context=Context()
        )

    @property
    def is_ending(self) -> bool:
        """Whether it takes no more requests."""
        forgotten = self._http is not None and self._http.is_forgotten
        return forgotten or self._closing.is_set() or self._owner.done()

    @property
    def is_closed(self) -> bool:
        """Whether its owner has closed it."""
        return self._owner.done()

    @asynccontextmanager
    async def used(self, call: Call | None = None) -> AsyncIterator[ClientSession]:
        """Give the session for a request. Raises ToolFailed if it could not be opened.

        `call` answers what the server requests meanwhile.
        """
        self._users += 1
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        try:
            await self._opened.wait()
            if self._session is None:
                raise ToolFailed(self._failure)
            if call is None:
                yield self._session
            else:
                async with self._under_way(call):
                    yield self._session
        finally:
            self._users -= 1
            if not self._users:
                self._rest()

    def _rest(self) -> None:
        """Look, once it was idle for its time, whether it is to be closed."""
        if self._idle is not None:
            self._idle.cancel()
        seconds = 0.0 if self.is_ending else self._idle_seconds
        self._idle = asyncio.get_running_loop().call_later(seconds, self._rested.set)

    @asynccontextmanager
    async def _under_way(self, call: Call) -> AsyncIterator[None]:
        self._calls.add(call)
        token = CALL.set(call)
        try:
            yield
        finally:
            CALL.reset(token)
            self._calls.discard(call)
            await call.close()

    async def list_tools(self) -> tuple[tuple[ListedTool, ...], float | None]:
        """Return the server's tools, and for how many seconds the list may be used, if it says so.

        Raises ToolFailed for a list that does not end; what the SDK raises otherwise.
        """
        self.tools_changed = False
        found: dict[str, ListedTool] = {}
        cursor, seconds = None, None
        async with self.used() as session:
            for _ in range(_PAGES):
                page = await session.list_tools(
                    params=mcp_types.PaginatedRequestParams(cursor=cursor)
                )
                for tool in page.tools:
                    found.setdefault(tool.name, _listed(tool))
                if "ttl_ms" in page.model_fields_set and page.ttl_ms is not None:
                    seconds = page.ttl_ms / 1000
                cursor = page.next_cursor
                if cursor is None or len(found) > MAX_TOOLS:
                    break
        if cursor is not None or len(found) > MAX_TOOLS:
            raise ToolFailed(f"{self.target.name} lists more than {MAX_TOOLS} tools.")
        self.has_listed = True
        return tuple(found.values()), seconds

    def end(self) -> None:
        """Have the owner close it; requests under way fail."""
        self._closing.set()
        self._rested.set()

    def closed(self) -> None:
        """Note that a request has failed because the connection is closed.

        Over HTTP each request has a stream of its own; other transports have only one.
        """
        if not self._is_streamable:
            self.end()

    async def ended(self) -> None:
        """Wait until the owner has closed it."""
        await asyncio.wait({self._owner})

    async def cause(self) -> str | None:
        """Return why a command has ended, with the end of its error output; None if it runs."""
        if self._command is None or not self._closing.is_set():
            return None
        await asyncio.wait({self._owner}, timeout=_EXIT_SECONDS)
        return self._command.cause()

    # --- the owner

    async def _own(self) -> None:
        """Open the connection, hold it until it is to end, close it."""
        try:
            await self._hold(self._streamable() if self.target.url else self._run_command())
        except BaseException as error:
            if self._is_older_http(error):
                await self._own_older()
            elif not self._ended_by(error):
                raise
        finally:
            self._closing.set()
            self._opened.set()
            if self._idle is not None:
                self._idle.cancel()

    async def _own_older(self) -> None:
        """Use the transport that HTTP servers had before: one event stream, and a URL for posts."""
        self._is_streamable = False
        try:
            await self._hold(self._sse())
        except BaseException as error:
            if not self._ended_by(error):
                raise

    async def _hold(self, transport: AbstractAsyncContextManager[Any]) -> None:
        client = Client(
            transport,
            cache=None,
            client_info=_INFO,
            message_handler=self._received,
            elicitation_callback=self._requested,
            extensions=[Tasks()],
        )
        now = asyncio.get_running_loop().time
        async with asyncio.timeout(CONNECT_SECONDS) as bound, client:
            bound.reschedule(None)
            try:
                self._session = client.session
                self._opened.set()
                version = client.protocol_version
                logger.info("mcp.connected", server=self.target.name, protocol=version)
                await self._until_idle()
            finally:
                bound.reschedule(now() + _CLOSE_SECONDS)
        logger.info("mcp.closed", server=self.target.name)

    async def _until_idle(self) -> None:
        """Return once it is to be closed, or nothing needs it any more."""
        while True:
            await self._rested.wait()
            self._rested.clear()
            if self._closing.is_set():
                return
            if self.target.url is None and await self._waiting.any():
                if not self._users:
                    self._rest()
            elif not self._users:
                self.end()

    @asynccontextmanager
    async def _streamable(self) -> AsyncIterator[Any]:
        async with (
            self._client() as client,
            streamable_http_client(
                self.target.url or "", http_client=client, max_sse_event_size=MAX_BYTES
            ) as streams,
        ):
            yield streams

    def _sse(self) -> AbstractAsyncContextManager[Any]:
        def client(
            headers: dict[str, str] | None = None,  # noqa: ARG001 - this and the others are ours
            timeout: httpx2.Timeout | None = None,  # noqa: ARG001
            auth: httpx2.Auth | None = None,  # noqa: ARG001
        ) -> httpx2.AsyncClient:
            return self._client()

        return sse_client(self.target.url or "", httpx_client_factory=client)

    def _client(self) -> httpx2.AsyncClient:
        self._http = HttpTransport(self._outgoing, self.target.proxy, self.target.ca_file)
        return httpx2.AsyncClient(
            transport=self._http, headers=self.target.headers, max_redirects=0, trust_env=False
        )

    def _run_command(self) -> AbstractAsyncContextManager[Any]:
        def started(running: Command) -> None:
            self._command = running

        return command(self.target, started, self.end)

    async def _received(self, message: IncomingMessage) -> None:
        if isinstance(message, mcp_types.ToolListChangedNotification):
            self.tools_changed = True

    async def _requested(
        self, context: ClientRequestContext, params: mcp_types.ElicitRequestParams
    ) -> mcp_types.ElicitResult | mcp_types.ErrorData:
        """Answer what the server requests of a person during a call.

        A command's output does not tell during which: with several under way none is answered.
        """
        del context
        call = CALL.get()
        if call is None and len(self._calls) == 1:
            (call,) = self._calls
        if call is None or call not in self._calls:
            logger.warning("mcp.input_not_given", server=self.target.name, calls=len(self._calls))
            return mcp_types.ErrorData(code=mcp_types.INVALID_REQUEST, message=_NOT_ALONE)
        try:
            return await call.answer(params)
        except ToolFailed as error:
            return mcp_types.ErrorData(code=mcp_types.INVALID_PARAMS, message=error.message)

    def _is_older_http(self, error: BaseException) -> bool:
        """Whether the server refuses posts to this URL as one of the older transport does."""
        refused = self._http is not None and self._http.status in _OF_SSE
        return refused and self._session is None and isinstance(_first(error), MCPError)

    def _ended_by(self, error: BaseException) -> bool:
        """Note why it could not be opened or was lost; False if the error is not of the server."""
        if isinstance(error, asyncio.CancelledError):
            self._failure = self._failure or f"The MCP server {self.target.label} is closed."
            return False
        if not isinstance(error, Exception):
            return False
        command = None if self._command is None else self._command.cause()
        text = self.target.secrets.hide(command or failure_text(error))
        if self._session is None:
            self._failure = f"The MCP server {self.target.label} is not reachable: {text}."
        logger.warning("mcp.lost", server=self.target.name, cause=text)
        return True


def failure_text(error: BaseException) -> str:
    """Return what has gone wrong in a few words; of a group its first error."""
    match error := _first(error):
        case MCPError() | ToolFailed():
            text = error.message
        case TimeoutError():
            text = f"it did not answer within {CONNECT_SECONDS:g} s"
        case FileNotFoundError():
            text = "there is no such command"
        case OSError():
            text = error.strerror or type(error).__name__
        case httpx2.HTTPStatusError():
            text = f"it answered {error.response.status_code}"
        case ValidationError():
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            text = f"it answered with what is not valid MCP: {place}: {first['msg']}"
        case _:
            text = f"it does not speak MCP ({type(error).__name__})"
    return text.removesuffix(".")


def _first(error: BaseException) -> BaseException:
    """Return the error, or the first one of a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _listed(tool: mcp_types.Tool) -> ListedTool:
    hints = tool.annotations
    annotations = None if hints is None else hints.model_dump(by_alias=True)
    text = tool.description or tool.title or ""
    return ListedTool(tool.name, text, tool.input_schema, effect_of(annotations))
