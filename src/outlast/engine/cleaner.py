"""What is past its time is deleted: idempotency keys, and what a cut short deletion has left.

A little at a time, by whichever process comes to it; two that do so at once take different rows or
find nothing.
"""

from typing import Final

from outlast.duty import Duty, Failures
from outlast.model.clock import Clock
from outlast.store.port import Store
from outlast.store.scripts.creation import IDEMPOTENCY_MILLIS

_EVERY_SECONDS: Final = 60.0
_REQUESTS: Final = 500
_EXECUTIONS: Final = 50


class Cleaner:
    """Looks every minute."""

    def __init__(self, store: Store, clock: Clock, failures: Failures) -> None:
        self._store = store
        self._clock = clock
        self._duties = [
            Duty(name, run, every=_EVERY_SECONDS, sleep=clock.sleep, failures=failures)
            for name, run in (
                ("forget_requests", self.forget_requests),
                ("purge", self.purge),
            )
        ]

    def start(self) -> None:
        """Begin to look."""
        for duty in self._duties:
            duty.start()

    async def stop(self) -> None:
        """Look no more; nothing is lost by it."""
        for duty in self._duties:
            await duty.stop()

    async def forget_requests(self) -> int:
        """Delete idempotency keys that are no longer kept; return how many there were."""
        before, found = self._clock.now() - IDEMPOTENCY_MILLIS, 0
        while count := await self._store.forget_requests(before, _REQUESTS):
            found += count
            if count < _REQUESTS:
                break
        return found

    async def purge(self) -> int:
        """Delete what is left of deleted conversations; return how many executions it was."""
        found = 0
        while count := await self._store.purge(_EXECUTIONS):
            found += count
        return found
