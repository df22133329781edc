"""Adds jobs for executions that should have one and do not; none are expected."""

from typing import Final

import structlog

from outlast.engine.dispatch.procrastinate.queue import Queue
from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.model.clock import Clock
from outlast.model.error import ExecutionNotFound, Overloaded
from outlast.store.executions.store import ExecutionStore
from outlast.store.executions.values import Unfinished

RECONCILE: Final = "queue_reconcile"
_EVERY_SECONDS: Final = 30.0
_SETTLED_MILLIS: Final = 10_000
"""Grace period: an execution that changed lately may be between two workers."""
_PAGE: Final = 500

logger = structlog.get_logger(__name__)


class Orphans:
    """Compares executions with the queue, and deletes workers that are long gone."""

    def __init__(
        self, store: ExecutionStore, queue: Queue, clock: Clock, forget_seconds: float
    ) -> None:
        """`forget_seconds`: silence after which a worker is deleted."""
        self._store = store
        self._queue = queue
        self._clock = clock
        self._forget = forget_seconds
        self.found = 0
        """Number of executions without a job found by this process."""

    @property
    def duty(self) -> MaintenanceDuty:
        """Every half minute, all runnable executions."""
        return MaintenanceDuty(RECONCILE, _EVERY_SECONDS, _PAGE, self.run)

    async def run(self, limit: int) -> int:
        """Check all, page by page; return 0: no batch follows."""
        await self._queue.clean_up(self._forget)
        after, before = "", self._clock.now() - _SETTLED_MILLIS
        while page := await self._store.unfinished(after, limit):
            after = page[-1].id
            settled = {found.id: found for found in page if found.updated_at < before}
            for execution_id in await self._queue.without_job(list(settled)):
                await self._adopt(settled[execution_id])
        return 0

    async def _adopt(self, orphan: Unfinished) -> None:
        """Add a job, unless the execution has changed meanwhile."""
        try:
            current = await self._store.get(orphan.workspace_id, orphan.id)
        except ExecutionNotFound:
            return
        except Overloaded:
            raise
        except Exception:  # noqa: BLE001 - a row that cannot be read: whoever takes the job fails it
            current = None
        unchanged = (orphan.status, orphan.updated_at)
        if current is None or (current.status, current.updated_at) == unchanged:
            self.found += 1
            logger.error("execution.orphaned", execution=orphan.id, status=orphan.status)
            await self._queue.add(orphan.workspace_id, orphan.id)
