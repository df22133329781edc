"""Processes due tasks: interval checkpoints, time limits, next attempts.

They are found by an index and processed under the execution's lock, so once.
"""

from typing import Final

from outlast.duty import Failures
from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.model.clock import Clock
from outlast.model.error import Overloaded
from outlast.model.ids import CHECKPOINT
from outlast.store.tasks.store import ProcessDueTask, TaskStore

DUE_TASKS: Final = "due_tasks"
_EVERY_SECONDS: Final = 1.0
_LIMIT: Final = 100


class DueTasks:
    """Processes tasks that are due."""

    def __init__(self, store: TaskStore, clock: Clock, failures: Failures) -> None:
        self._store = store
        self._clock = clock
        self._failures = failures

    @property
    def duty(self) -> MaintenanceDuty:
        """Every second, the longest delay of a due task."""
        return MaintenanceDuty(DUE_TASKS, _EVERY_SECONDS, _LIMIT, self.run)

    async def run(self, limit: int) -> int:
        """Process due tasks; return how many succeeded. One that fails stays due."""
        now = self._clock.now()
        due = await self._store.due(now, limit)
        return sum([await self._attend(*task, now) for task in due])

    async def _attend(self, workspace_id: str, execution_id: str, now: int) -> bool:
        """Process one task; return False if that failed."""
        attend = ProcessDueTask(workspace_id, execution_id, now, self._clock.new_id(CHECKPOINT))
        try:
            await self._store.process_due(attend)
        except Overloaded:
            raise
        except Exception as error:  # noqa: BLE001 - one task does not keep the others waiting
            self._failures.record(DUE_TASKS, error)
            return False
        return True
