"""Adds up the charges of past hours, so that what a month has cost is read from few rows."""

from typing import Final

from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.model.clock import Clock
from outlast.model.consumption import HOUR_MILLIS
from outlast.store.usage import UsageStore

SUM_USAGE: Final = "sum_usage"
_EVERY_SECONDS: Final = 600.0
_LIMIT: Final = 20
_SETTLED_MILLIS: Final = HOUR_MILLIS
"""An hour is added up this long after its end: every charge of it is committed by then, also by a
process whose clock is late."""


class UsageHours:
    """Adds up hours; concurrent runs add up the same ones, and one of them wins."""

    def __init__(self, store: UsageStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @property
    def duty(self) -> MaintenanceDuty:
        """Every ten minutes."""
        return MaintenanceDuty(SUM_USAGE, _EVERY_SECONDS, _LIMIT, self.run)

    async def run(self, limit: int) -> int:
        """Add up at most one hour of each of `limit` workspaces; return how many."""
        return await self._store.sum_hours(self._clock.now() - _SETTLED_MILLIS, limit)
