"""Clocks beside `outlast.testing.FakeClock`."""

import asyncio
from typing import Any

from outlast.duty import Duty
from outlast.model.clock import SystemClock
from outlast.testing import FakeClock


class InstantClock(SystemClock):
    """Sleeps for no time and remembers for how long it should have."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class ImpatientClock(SystemClock):
    """Sleeps for no time, so that a provider's retries take none; but a duty keeps its pace.

    A duty without pauses would take the processor from all others.
    """

    async def sleep(self, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None
        running: Any = task.get_coro()
        is_duty = running.__qualname__ == Duty.forever.__qualname__
        await super().sleep(seconds if is_duty else 0)


class TickingClock(FakeClock):
    """Moves by three milliseconds whenever it is read, so that no two moments are the same."""

    def now(self) -> int:
        self._now += 3
        return self._now
