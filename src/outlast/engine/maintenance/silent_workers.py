"""Reassigns executions of workers that have been silent for too long."""

from typing import Final

import structlog

from outlast.engine.dispatch.procrastinate.queue import Queue
from outlast.engine.maintenance.duty import MaintenanceDuty

TAKE_OVER: Final = "queue_sweep"
_LOOKS: Final = 6
"""Runs within the time after which a worker counts as silent."""
_LIMIT: Final = 500

logger = structlog.get_logger(__name__)


class SilentWorkers:
    """Reassigns the jobs of silent workers."""

    def __init__(self, queue: Queue, takeover_seconds: float) -> None:
        self._queue = queue
        self._takeover = takeover_seconds
        self.taken_over = 0
        """Number of jobs that this process reassigned."""

    @property
    def duty(self) -> MaintenanceDuty:
        """A few times within the time after which a worker counts as silent."""
        return MaintenanceDuty(TAKE_OVER, self._takeover / _LOOKS, _LIMIT, self.run)

    async def run(self, limit: int) -> int:
        """Reassign at most `limit` jobs; return how many there were."""
        stalled = (await self._queue.stalled(self._takeover))[:limit]
        for job in stalled:
            await self._queue.give_out_anew(job)
            self.taken_over += 1
            logger.warning("job.taken_over", execution=job.execution_id)
        return len(stalled)
