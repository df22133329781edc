"""The open streams of one server: one timer looks after all of them.

It ends those whose key opens nothing any more, and drops what is held for clients that are behind.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol, TypeAlias

from outlast.duty import Failures
from outlast.http.spool import Spools
from outlast.model.workspace import Principal

SpentKeys: TypeAlias = Callable[[Collection[Principal]], Awaitable[Collection[str]]]
"""The ids of those keys that have been revoked or have expired."""

_LOOK_SECONDS: Final = 0.5
_KEYS_SECONDS: Final = 2.0
"""How long a stream may outlive its key, whichever process revoked it."""


class OpenStream(Protocol):
    """One of them."""

    principal: Principal | None
    is_parked: bool
    """Nothing but a piece is held in memory for its client, which is behind."""

    def end(self) -> None:
        """End the stream where it stands."""
        ...

    def look(self) -> None:
        """Drop what is held for a client that is behind."""
        ...


class OpenStreams:
    """The streams of one server, so that it can end them."""

    def __init__(
        self,
        keep_alive: float,
        spent: SpentKeys | None = None,
        failures: Failures | None = None,
        spools: Spools | None = None,
    ) -> None:
        """`keep_alive`: a silent stream says this often, in seconds, that it lives."""
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
        """Those whose clients are behind."""
        return sum(stream.is_parked for stream in self._streams)

    def add(self, stream: OpenStream) -> None:
        """Look after a stream."""
        self._streams.add(stream)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._checked_at = loop.time()
            self._timer = loop.call_later(self.look_seconds, self._look, loop)

    def remove(self, stream: OpenStream) -> None:
        """Look after it no more."""
        self._streams.discard(stream)
        if not self._streams and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """Tell every client to come back, and end its stream; executions do not notice."""
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
        """End the streams of keys that open nothing any more."""
        keys = {one.principal.key_id: one.principal for one in self._streams if one.principal}
        gone = await spent(tuple(keys.values()))
        for stream in tuple(self._streams):
            if stream.principal is not None and stream.principal.key_id in gone:
                stream.end()
