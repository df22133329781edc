"""The open streams of one server, watched by one timer.

It ends those whose key is no longer valid, and drops data held for clients that are behind.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol, TypeAlias

from outlast.duty import Failures
from outlast.http.spool import Spools
from outlast.model.workspace import Principal

SpentKeys: TypeAlias = Callable[[Collection[Principal]], Awaitable[Collection[str]]]
"""Returns the ids of those keys that have been revoked or have expired."""

_LOOK_SECONDS: Final = 0.5
_KEYS_SECONDS: Final = 2.0
"""How long a stream may outlive its key; the same for keys revoked by other processes."""


class OpenStream(Protocol):
    """An open stream."""

    principal: Principal | None
    is_parked: bool
    """Whether only a piece is held in memory for its client, which is behind."""

    def end(self) -> None:
        """End the stream at once."""
        ...

    def look(self) -> None:
        """Drop data held for a client that is behind."""
        ...


class OpenStreams:
    """The streams of one server."""

    def __init__(
        self,
        keep_alive: float,
        spent: SpentKeys | None = None,
        failures: Failures | None = None,
        spools: Spools | None = None,
    ) -> None:
        """`keep_alive`: seconds between comments in a silent stream."""
        self._failures = failures or Failures()
        self.spools = spools or Spools()
        self.keep_alive = keep_alive
        self.look_seconds = _LOOK_SECONDS
        self.keys_seconds = _KEYS_SECONDS
        self.leaving = False
        self._spent = spent
        self._streams: set[OpenStream] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._checked_at = 0.0
        self._checking: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def parked(self) -> int:
        """Streams whose clients are behind."""
        return sum(stream.is_parked for stream in self._streams)

    def add(self, stream: OpenStream) -> None:
        """Watch a stream."""
        self._streams.add(stream)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._checked_at = loop.time()
            self._timer = loop.call_later(self.look_seconds, self._look, loop)

    def remove(self, stream: OpenStream) -> None:
        """Stop watching it."""
        self._streams.discard(stream)
        if not self._streams and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """Tell every client to reconnect, and end its stream; executions continue."""
        self.leaving = True
        for stream in tuple(self._streams):
            stream.end()

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for stream in self._streams:
            stream.look()
        if self._spent is not None and now - self._checked_at >= self.keys_seconds:
            self._checked_at = now
            if self._checking is None or self._checking.done():
                self._checking = self._failures.spawn(
                    self._check(self._spent), "check_keys_of_streams"
                )
        self._timer = loop.call_later(self.look_seconds, self._look, loop)

    async def _check(self, spent: SpentKeys) -> None:
        """End the streams of keys that are no longer valid."""
        keys = {one.principal.key_id: one.principal for one in self._streams if one.principal}
        gone = await spent(tuple(keys.values()))
        for stream in tuple(self._streams):
            if stream.principal is not None and stream.principal.key_id in gone:
                stream.end()
