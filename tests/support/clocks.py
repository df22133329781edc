"""Clocks beside `outlast.testing.FakeClock`."""

from outlast.model.clock import SystemClock
from outlast.testing import FakeClock


class InstantClock(SystemClock):
    """Sleeps for no time and remembers for how long it should have."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class TickingClock(FakeClock):
    """Moves by three milliseconds whenever it is read, so that no two moments are the same."""

    def now(self) -> int:
        self._now += 3
        return self._now
