"""Time, sleep and new ids: every source of nondeterminism is a Clock."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

from outlast.model.ids import Ids


class Clock(Protocol):
    """Source of time and new ids."""

    def now(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, for measuring durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after this many seconds."""
        ...

    def new_id(self, prefix: str) -> str:
        """Return a new TypeID; later ids sort after earlier ones."""
        ...


class SystemClock:
    """The machine's clock, without its steps back.

    If the machine's clock is set back, this one advances at nine tenths of monotonic time until the
    machine's has caught up.
    """

    def __init__(
        self,
        wall: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Both in nanoseconds."""
        self._wall, self._monotonic = wall, monotonic
        self._ids = Ids()
        self._said = 0
        self._behind_at: int | None = None
        """When the machine's clock was last behind the time returned."""

    def now(self) -> int:
        wall = self._wall()
        if wall < self._said:
            wall = self._catch_up()
        elif self._behind_at is not None:
            self._behind_at = None
        self._said = wall
        return wall // 1_000_000

    def _catch_up(self) -> int:
        at = self._monotonic()
        since = at if self._behind_at is None else self._behind_at
        self._behind_at = at
        return self._said + (at - since) * 9 // 10

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def new_id(self, prefix: str) -> str:
        return self._ids.new(prefix, self.now())


def whole_millis(seconds: float) -> int:
    """Return whole milliseconds, rounded down: the end of a duration is not in the future."""
    return round(seconds * 1_000_000) // 1000


def iso(millis: int) -> str:
    """Write milliseconds since the epoch as ISO 8601 in UTC: `2026-03-15T10:30:00.000Z`."""
    seconds, rest = divmod(millis, 1000)
    return f"{iso_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=256)
def iso_second(seconds: int) -> str:
    """Like `iso`, to the second. Cached: an answer and its log lines write the same few."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def iso_or_none(millis: int | None) -> str | None:
    """Like `iso`; None stays None."""
    return None if millis is None else iso(millis)
