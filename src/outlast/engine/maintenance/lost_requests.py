"""Releases what requests of processes that have died had reserved in budgets."""

from typing import Final

from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.model.clock import Clock
from outlast.store.request_charges import RequestChargeStore

RELEASE_REQUESTS: Final = "release_requests"
_EVERY_SECONDS: Final = 60.0
_LIMIT: Final = 100
_LOST_MILLIS: Final = 60_000
"""Age of a reservation whose process has died: no request takes as long."""


class LostRequests:
    """Releases them; of concurrent runs one releases each."""

    def __init__(self, store: RequestChargeStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @property
    def duty(self) -> MaintenanceDuty:
        """Every minute."""
        return MaintenanceDuty(RELEASE_REQUESTS, _EVERY_SECONDS, _LIMIT, self.run)

    async def run(self, limit: int) -> int:
        """Release at most `limit`; return how many were found."""
        now = self._clock.now()
        found = await self._store.lost(now - _LOST_MILLIS, limit)
        for charge_id in found:
            await self._store.release(charge_id, now)
        return len(found)
