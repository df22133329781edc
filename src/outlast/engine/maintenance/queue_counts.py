"""How long the queue is; workers that overlook a job are notified again.

A job whose time has come and a job whose notification was lost are seen here within a second, so
that workers need not look so often themselves.
"""

from typing import Final

from outlast.engine.dispatch.procrastinate.queue import Queue
from outlast.engine.maintenance.duty import MaintenanceDuty

QUEUE_COUNTS: Final = "queue_counts"
_EVERY_SECONDS: Final = 1.0
_LONG_QUEUE: Final = 500


class QueueCounts:
    """Counts jobs that wait, and keeps the planner's idea of them."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._analyzed = 0
        """How long the queue was when its statistics were taken."""
        self.waiting = 0
        """Jobs that wait for a worker, as this process knows."""

    @property
    def duty(self) -> MaintenanceDuty:
        """Every second."""
        return MaintenanceDuty(QUEUE_COUNTS, _EVERY_SECONDS, 1, self.run)

    async def run(self, _limit: int) -> int:
        """Count; return 0: there is nothing more to do at once."""
        self.waiting, overlooked = await self._queue.counts()
        if overlooked:
            await self._queue.nudge()
        if self.waiting > _LONG_QUEUE and self.waiting > 2 * self._analyzed:
            self._analyzed = self.waiting
            await self._queue.analyze()
        elif self.waiting < _LONG_QUEUE:
            self._analyzed = 0
        return 0
