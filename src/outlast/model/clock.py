"""Time, sleep and new ids: everything that differs between two runs comes from a Clock."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol

from typeid import TypeID


class Clock(Protocol):
    """Where time and new ids come from."""

    def now(self) -> int:
        """Milliseconds since 1970-01-01T00:00:00Z."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards, for measuring durations."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        ...

    def new_id(self, prefix: str) -> str:
        """A new TypeID; later ids sort after earlier ones."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def new_id(self, prefix: str) -> str:
        return str(TypeID(prefix))


def iso(millis: int) -> str:
    """Write milliseconds since the epoch as ISO 8601 in UTC: `2026-03-15T10:30:00.000Z`."""
    moment = datetime.fromtimestamp(millis // 1000, UTC)
    return f"{moment.isoformat()[:19]}.{millis % 1000:03d}Z"


def iso_or_none(millis: int | None) -> str | None:
    """Like iso; nothing stays nothing."""
    return None if millis is None else iso(millis)
