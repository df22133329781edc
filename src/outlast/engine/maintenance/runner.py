"""Runs the maintenance duties while this process leads.

Each duty has a loop of its own, which survives any error of the duty. A full batch is followed by
the next at once. The pause between two runs is `every`, shortened at random so that duties spread
out, or where no other process leads so that they run together, which wakes an idle process less
often; never lengthened, so that nothing is late. The first run is soon after the start, so that
what was due while no process ran does not wait for an interval.
"""

import random
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Final, TypeAlias

from outlast.duty import Duty, Failures
from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.engine.maintenance.leader import Leadership
from outlast.model.clock import Clock

_FIRST_SECONDS: Final = 1.0
"""Maximum seconds before the first run."""
_JITTER: Final = 0.1
"""Maximum share by which a pause is shortened."""
_LATE_SECONDS: Final = 0.005
"""How long after a multiple of their pause duties run together: a timer may be early by less."""

Ran: TypeAlias = Callable[[str, float, int], None]
"""Called after each successful batch: the duty's name, seconds, time in milliseconds."""


class MaintenanceRunner:
    """The duties, and their loops in this process."""

    def __init__(
        self,
        duties: Iterable[MaintenanceDuty],
        leadership: Leadership,
        clock: Clock,
        failures: Failures,
        ran: Ran,
    ) -> None:
        self._duties = {duty.name: duty for duty in duties}
        self._leadership = leadership
        self._clock = clock
        self._ran = ran
        self._loops = {
            duty.name: Duty(
                duty.name,
                partial(self._turn, duty),
                every=duty.every,
                sleep=partial(self._sleep, duty.sleep or clock.sleep),
                failures=failures,
                first=min(duty.every, _FIRST_SECONDS),
            )
            for duty in self._duties.values()
        }

    @property
    def leads(self) -> bool:
        """Whether this process runs the duties now."""
        return self._leadership.leads

    async def start(self) -> None:
        """Start the loops; they work while this process leads."""
        await self._leadership.start()
        for loop in self._loops.values():
            loop.start()

    async def stop(self) -> None:
        """Cancel what runs; nothing is lost by it, and another process takes over."""
        await self.hold(*self._loops)
        await self._leadership.stop()

    async def hold(self, *names: str) -> None:
        """Run these duties only by `run` from now on."""
        for name in names:
            await self._loops[name].stop()

    async def run(self, name: str) -> int:
        """Run a duty until nothing is left, leading or not; return how much was done."""
        duty, done = self._duties[name], 0
        while count := await self._batch(duty):
            done += count
            if count < duty.limit:
                break
        return done

    async def _turn(self, duty: MaintenanceDuty) -> None:
        """Run batches until nothing is left, while this process leads."""
        await self._leadership.elected()
        while self._leadership.leads:
            if await self._batch(duty) < duty.limit:
                return

    async def _batch(self, duty: MaintenanceDuty) -> int:
        began = self._clock.monotonic()
        done = await duty.run(duty.limit)
        self._ran(duty.name, self._clock.monotonic() - began, self._clock.now())
        return done

    async def _sleep(self, sleep: Callable[[float], Awaitable[None]], seconds: float) -> None:
        if self._leadership.alone:
            since = (self._clock.monotonic() - _LATE_SECONDS) % seconds
            await sleep(seconds - min(since, _JITTER * seconds))
        else:
            await sleep(seconds * (1 - _JITTER * random.random()))  # noqa: S311 - no secret
