"""What is due for tasks though nobody calls: checkpoints, the end of their time, next attempts.

It is found by an index and done under the execution's lock, so once, whichever process sees it.
"""

import asyncio
from typing import Final

import structlog

from outlast.model.clock import Clock
from outlast.model.error import OutlastError
from outlast.model.ids import CHECKPOINT
from outlast.store.task_port import Attend, TaskStore

_EVERY_SECONDS: Final = 1.0
_PAGE: Final = 100

logger = structlog.get_logger(__name__)


class Keeper:
    """Looks for tasks that are due every second."""

    def __init__(self, store: TaskStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self) -> None:
        """Look no more; nothing is lost by it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None

    async def keep(self) -> int:
        """Do what is due by now; how many tasks were."""
        now, found = self._clock.now(), 0
        while due := await self._store.due_tasks(now, _PAGE):
            kept = [await self._attend(*task, now) for task in due]
            found += len(due)
            if len(due) < _PAGE or not all(kept):
                break
        return found

    async def _attend(self, workspace_id: str, execution_id: str, now: int) -> bool:
        """Attend to one; False where that failed: it stays due."""
        wish = Attend(workspace_id, execution_id, now, self._clock.new_id(CHECKPOINT))
        try:
            await self._store.attend(wish)
        except OutlastError:
            logger.exception("task.not_kept", execution=execution_id)
            return False
        return True

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(_EVERY_SECONDS)
            try:
                await self.keep()
            except OutlastError:
                logger.exception("tasks.not_kept")
