"""The browser of an execution while one segment of it runs: what engine and tools share.

Nothing is imported here that a server without a browser does not need.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

from outlast.model.execution import NO_BROWSER, BrowserUse, Execution

State: TypeAlias = dict[str, Any]
"""What of a browser is kept while it is closed: JSON, with cookies in clear."""


class BrowserSession(Protocol):
    """An open browser."""

    async def state(self) -> State | None:
        """Return its state now; None if it cannot be read, as of a browser that has died."""
        ...

    async def close(self) -> None:
        """Close it, within seconds; safe to call many times."""
        ...


async def _nothing() -> None:
    return None


@dataclass(slots=True)
class HeldBrowser:
    """The open browser of a segment, how long it was open, and its state to be kept."""

    monotonic: Callable[[], float]
    read: Callable[[], Awaitable[State | None]] = _nothing
    """Reads the state that is kept of an earlier segment."""
    seal: Callable[[State], str] = str
    """Encrypts the state to be kept."""
    used: BrowserUse = NO_BROWSER
    """The execution's use when the segment began."""
    session: BrowserSession | None = None
    kept: State | None = None
    """The newest state; None: the next browser begins empty."""
    changed: bool = False
    """Whether the store does not have it yet."""
    was_read: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by the call that uses the browser: one at a time."""
    _opened: float | None = None
    _seconds: float = field(default=0.0)

    def opened(self, session: BrowserSession) -> None:
        """Note that its browser is open from now on."""
        self.session, self._opened = session, self.monotonic()

    def closed(self) -> None:
        """Note that it is open no more: its time stops."""
        if self._opened is not None:
            self._seconds += self.monotonic() - self._opened
        self.session = self._opened = None

    async def restored(self) -> State | None:
        """Return the state to continue from; None if there is none."""
        if not self.was_read:
            self.was_read = True
            self.kept = await self.read()
        return self.kept

    def keep(self, state: State | None) -> None:
        """Keep this state, if it is another one."""
        self.was_read = True
        if state != self.kept:
            self.kept, self.changed = state, True

    def sealed(self) -> str | None:
        """Return the new state, encrypted, to be written now; None: none is kept any more."""
        self.changed = False
        return None if self.kept is None else self.seal(self.kept)

    async def leave(self) -> None:
        """Keep the state of the open browser, and close it."""
        if self.session is None:
            return
        if (state := await self.session.state()) is not None:
            self.keep(state)
        await self.close()

    async def close(self) -> None:
        """Close the open browser."""
        if self.session is not None:
            session = self.session
            self.closed()
            await session.close()

    def open_use(self, execution: Execution, now: int) -> BrowserUse | None:
        """Return the execution's use until now; None if no browser is open."""
        use = execution.browser or NO_BROWSER
        return None if self._opened is None else self.timed(use, now)

    def timed(self, use: BrowserUse, now: int) -> BrowserUse:
        """Return the use with its time until now, `now` in milliseconds since the epoch."""
        open_since = 0.0 if self._opened is None else self.monotonic() - self._opened
        ms = self.used.ms + round((self._seconds + open_since) * 1000)
        timed = replace(use, ms=ms, since=None if self._opened is None else now)
        return use if timed == use else timed
