"""Decides due waits automatically, once.

An approval expires, a timer ends, a client or a child is late. They are found by an index; the
decision is the same compare-and-set as any other.
"""

from typing import Final

import structlog

from outlast.duty import Failures
from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.engine.segment.last_resort import LastResort
from outlast.model.clock import Clock
from outlast.model.error import NotFound, Overloaded
from outlast.model.unreadable import ExecutionUnreadable
from outlast.model.wait import Wait
from outlast.store.unreadable import Unreadable
from outlast.store.waits.decide import DecideWait
from outlast.store.waits.store import WaitStore

DUE_WAITS: Final = "expire_approvals"
"""Name of the duty, used in dashboards."""
_EVERY_SECONDS: Final = 1.0
_LIMIT: Final = 100

logger = structlog.get_logger(__name__)


class DueWaits:
    """Decides due waits."""

    def __init__(
        self, store: WaitStore, last_resort: LastResort, clock: Clock, failures: Failures
    ) -> None:
        self._store = store
        self._last_resort = last_resort
        self._clock = clock
        self._failures = failures

    @property
    def duty(self) -> MaintenanceDuty:
        """Every second, the longest delay of a due wait."""
        return MaintenanceDuty(DUE_WAITS, _EVERY_SECONDS, _LIMIT, self.run)

    async def run(self, limit: int) -> int:
        """Decide due waits; return how many. One that fails stays due."""
        now = self._clock.now()
        due = await self._store.due(now, limit)
        return sum([await self._settle(one, now) for one in due])

    async def _settle(self, found: tuple[str, Wait] | Unreadable, now: int) -> bool:
        """Decide one; fail its execution if it cannot be read. Return False if that failed."""
        if isinstance(found, Unreadable):
            return await self._last_resort.end_unreadable(found)
        return await self._decide(*found, now)

    async def _decide(self, workspace_id: str, wait: Wait, now: int) -> bool:
        """Decide one; return False if that failed."""
        request = DecideWait(workspace_id, wait.execution_id, wait.tool_call_id, now, None)
        try:
            await self._store.decide(request)
        except NotFound:
            logger.info("approval.gone", execution=wait.execution_id)
        except ExecutionUnreadable as error:
            return await self._last_resort.end_unreadable(
                Unreadable(workspace_id, error.execution_id)
            )
        except Overloaded:
            raise
        except Exception as error:  # noqa: BLE001 - one wait does not keep the others waiting
            self._failures.record(DUE_WAITS, error)
            return False
        return True
