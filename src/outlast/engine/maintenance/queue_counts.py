"""Measures the queue; workers that overlook a job are notified again.

A job that has become due and a job whose notification was lost are found here within a second, so
that workers can poll less often.
"""

from typing import Final

from outlast.engine.dispatch.procrastinate.queue import Queue
from outlast.engine.maintenance.duty import MaintenanceDuty

QUEUE_COUNTS: Final = "queue_counts"
_EVERY_SECONDS: Final = 1.0
_LONG_QUEUE: Final = 500


class QueueCounts:
    """Counts waiting jobs, and keeps the planner's statistics of them current."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._analyzed = 0
        """Length of the queue when its statistics were taken."""
        self.waiting = 0
        """Number of jobs that wait for a worker, as far as this process knows."""

    @property
    def duty(self) -> MaintenanceDuty:
        """Every second."""
        return MaintenanceDuty(QUEUE_COUNTS, _EVERY_SECONDS, 1, self.run)

    async def run(self, _limit: int) -> int:
        """Count; return 0: no batch follows."""
        self.waiting, overlooked = await self._queue.counts()
        if overlooked:
            await self._queue.nudge()
        if self.waiting > _LONG_QUEUE and self.waiting > 2 * self._analyzed:
            self._analyzed = self.waiting
            await self._queue.analyze()
        elif self.waiting < _LONG_QUEUE:
            self._analyzed = 0
        return 0
