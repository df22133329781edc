"""Waits whose time is over are decided as they say themselves, once.

An approval expires, a timer is over, a client or a child is late. They are found by an index; the
decision is the same compare-and-set as any other.
"""

from typing import Final

import structlog

from outlast.duty import Failures
from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.engine.segment.last_resort import LastResort
from outlast.model.clock import Clock
from outlast.model.error import NotFound, Overloaded
from outlast.model.wait import Wait
from outlast.store.unreadable import Unreadable
from outlast.store.waits.decide import DecideWait
from outlast.store.waits.store import WaitStore

DUE_WAITS: Final = "expire_approvals"
"""The name that dashboards know."""
_EVERY_SECONDS: Final = 1.0
_LIMIT: Final = 100

logger = structlog.get_logger(__name__)


class DueWaits:
    """Decides waits whose time is over."""

    def __init__(
        self, store: WaitStore, last_resort: LastResort, clock: Clock, failures: Failures
    ) -> None:
        self._store = store
        self._last_resort = last_resort
        self._clock = clock
        self._failures = failures

    @property
    def duty(self) -> MaintenanceDuty:
        """Every second: a call waits at most so long beyond its time."""
        return MaintenanceDuty(DUE_WAITS, _EVERY_SECONDS, _LIMIT, self.run)

    async def run(self, limit: int) -> int:
        """Decide what is due; return how many were decided. One that fails stays due."""
        now = self._clock.now()
        due = await self._store.due(now, limit)
        return sum([await self._settle(one, now) for one in due])

    async def _settle(self, found: tuple[str, Wait] | Unreadable, now: int) -> bool:
        """Decide one; fail its execution if it cannot be read. False if that failed."""
        if isinstance(found, Unreadable):
            return await self._last_resort.end_unreadable(found)
        return await self._decide(*found, now)

    async def _decide(self, workspace_id: str, wait: Wait, now: int) -> bool:
        """Decide one; False if that failed."""
        request = DecideWait(workspace_id, wait.execution_id, wait.tool_call_id, now, None)
        try:
            await self._store.decide(request)
        except NotFound:
            logger.info("approval.gone", execution=wait.execution_id)
        except Overloaded:
            raise
        except Exception as error:  # noqa: BLE001 - one wait does not keep the others waiting
            self._failures.record(DUE_WAITS, error)
            return False
        return True
