"""Deletes expired idempotency keys."""

from typing import Final

from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.model.clock import Clock
from outlast.store.idempotency import IDEMPOTENCY_MILLIS, IdempotencyStore

FORGET_REQUESTS: Final = "forget_requests"
_EVERY_SECONDS: Final = 60.0
_LIMIT: Final = 500


class IdempotencyKeys:
    """Deletes expired keys; concurrent runs take different rows."""

    def __init__(self, store: IdempotencyStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @property
    def duty(self) -> MaintenanceDuty:
        """Every minute."""
        return MaintenanceDuty(FORGET_REQUESTS, _EVERY_SECONDS, _LIMIT, self.run)

    async def run(self, limit: int) -> int:
        """Delete at most `limit`; return how many were deleted."""
        return await self._store.forget(self._clock.now() - IDEMPOTENCY_MILLIS, limit)
