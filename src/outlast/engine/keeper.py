"""What is due for tasks though nobody calls: checkpoints, the end of their time, next attempts.

It is found by an index and done under the execution's lock, so once, whichever process sees it.
"""

from typing import Final

from outlast.duty import Duty, Failures
from outlast.model.clock import Clock
from outlast.model.error import Overloaded
from outlast.model.ids import CHECKPOINT
from outlast.store.task_port import Attend, TaskStore

_DUTY: Final = "due_tasks"
_EVERY_SECONDS: Final = 1.0
_PAGE: Final = 100


class Keeper:
    """Looks for tasks that are due every second."""

    def __init__(self, store: TaskStore, clock: Clock, failures: Failures) -> None:
        self._store = store
        self._clock = clock
        self._failures = failures
        self._duty = Duty(
            _DUTY, self.keep, every=_EVERY_SECONDS, sleep=clock.sleep, failures=failures
        )

    def start(self) -> None:
        """Begin to look."""
        self._duty.start()

    async def stop(self) -> None:
        """Look no more; nothing is lost by it."""
        await self._duty.stop()

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
        except Overloaded:
            raise
        except Exception as error:  # noqa: BLE001 - one task does not keep the others waiting
            self._failures.record(_DUTY, error)
            return False
        return True
