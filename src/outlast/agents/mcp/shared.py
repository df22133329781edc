"""What all runs share of one MCP server: a connection, and what it listed last."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final, TypeVar

from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from outlast.agents.mcp.connection import CONNECT_SECONDS, Connection, failure_text
from outlast.agents.mcp.listing import Listing
from outlast.agents.mcp.server import Target
from outlast.agents.mcp.waiting_calls import WaitingCalls
from outlast.agents.outgoing import Outgoing
from outlast.model.clock import Clock
from outlast.model.error import ToolFailed

_SHORTEST, _DEFAULT, _LONGEST = 5.0, 60.0, 3600.0
"""Seconds for which a list of tools is used, if the server names fewer, none or more."""
_PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
"""Seconds between attempts to list tools when a segment begins."""

T = TypeVar("T")


class SharedServer:
    """A server as all runs use it."""

    def __init__(
        self,
        target: Target,
        outgoing: Outgoing,
        clock: Clock,
        idle_seconds: float,
        waiting: WaitingCalls,
    ) -> None:
        self.target = target
        self.waiting = waiting
        self._outgoing = outgoing
        self._clock = clock
        self._idle_seconds = idle_seconds
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None
        self._ending: set[Connection] = set()
        """Connections that take no more requests, until their owners have closed them."""
        self._listing: Listing | None = None
        self._failed_at = -1.0
        self._failure = ""

    @property
    def connections(self) -> int:
        """Connections that are not closed."""
        self._forget_closed()
        return len(self._ending) + (self._connection is not None)

    @property
    def is_unused(self) -> bool:
        """Whether nothing of it is worth keeping."""
        return not (self._lock.locked() or self.connections or self._is_fresh())

    def has(self, tool: str) -> bool:
        """Whether the server has listed a tool of this name."""
        return self._listing is not None and tool in self._listing.names

    async def listing(self) -> Listing:
        """Return its tools, listed not too long ago. Raises ToolFailed after several attempts."""
        if self._listing is not None and self._is_fresh():
            return self._listing
        return await self._alone(self._listed_again)

    async def connected(self) -> Connection:
        """Return a connection on which the tools have been listed. Raises ToolFailed.

        The SDK sends with each call what it has read of a list.
        """
        known = self._connection
        if known is not None and known.has_listed and not known.is_ending:
            return known
        return await self._alone(self._connected_again)

    async def close(self) -> None:
        """Close its connections."""
        open_ones = [*self._ending, *([self._connection] if self._connection else [])]
        for one in open_ones:
            one.end()
        for one in open_ones:
            await one.ended()

    async def _alone(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do this one at a time; what has failed fails for those who have waited for it too."""
        began = self._clock.monotonic()
        async with self._lock:
            if self._failed_at >= began:
                raise ToolFailed(self._failure)
            try:
                return await work()
            except ToolFailed as error:
                self._failed_at, self._failure = self._clock.monotonic(), error.message
                raise

    async def _listed_again(self) -> Listing:
        if self._listing is not None and self._is_fresh():
            return self._listing
        for pause in _PAUSES:
            try:
                return await self._list(self._open())
            except ToolFailed:
                await self._clock.sleep(pause)
        return await self._list(self._open())

    async def _connected_again(self) -> Connection:
        connection = self._open()
        if not connection.has_listed:
            await self._list(connection)
        return connection

    def _is_fresh(self) -> bool:
        known, connection = self._listing, self._connection
        if known is None or (connection is not None and connection.tools_changed):
            return False
        return self._clock.monotonic() - known.at < known.seconds

    def _open(self) -> Connection:
        """Return the connection, a new one if there is none that takes requests."""
        self._forget_closed()
        found = self._connection
        if found is not None and found.is_ending:
            self._ending.add(found)
            found = None
        if found is None:
            found = Connection(self.target, self._outgoing, self._idle_seconds, self.waiting)
            self._connection = found
        return found

    def _forget_closed(self) -> None:
        self._ending = {one for one in self._ending if not one.is_closed}
        if self._connection is not None and self._connection.is_closed:
            self._connection = None

    async def _list(self, connection: Connection) -> Listing:
        """List the tools. Raises ToolFailed."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                tools, seconds = await connection.list_tools()
        except (MCPError, ValidationError, RuntimeError, TimeoutError, ValueError) as error:
            cause = await connection.cause() or failure_text(error)
            connection.end()
            failure = f"The MCP server {self.target.label} does not list its tools: {cause}."
            raise ToolFailed(self.target.secrets.hide(failure)) from error
        seconds = _DEFAULT if seconds is None else min(max(seconds, _SHORTEST), _LONGEST)
        names = frozenset(tool.name for tool in tools)
        listing = Listing(tools, names, self._clock.monotonic(), seconds)
        if self._listing is not None and self._listing.tools == tools:
            listing = replace(listing, specs=self._listing.specs)
        self._listing = listing
        return listing
