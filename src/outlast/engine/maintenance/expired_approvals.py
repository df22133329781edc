"""Approvals that were not decided in time are decided by default, once.

They are found by an index; the decision is the same compare-and-set as a person's.
"""

from typing import Final

import structlog

from outlast.duty import Failures
from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.engine.segment.last_resort import LastResort
from outlast.model.clock import Clock
from outlast.model.error import NotFound, Overloaded
from outlast.model.wait import Decision, Wait
from outlast.store.unreadable import Unreadable
from outlast.store.waits.store import DecideWait, WaitStore

EXPIRE_APPROVALS: Final = "expire_approvals"
REASON: Final = "Nobody decided in time."
_EVERY_SECONDS: Final = 1.0
_LIMIT: Final = 100

logger = structlog.get_logger(__name__)


class ExpiredApprovals:
    """Decides approvals that have expired."""

    def __init__(
        self, store: WaitStore, last_resort: LastResort, clock: Clock, failures: Failures
    ) -> None:
        self._store = store
        self._last_resort = last_resort
        self._clock = clock
        self._failures = failures

    @property
    def duty(self) -> MaintenanceDuty:
        """Every second: an approval waits at most so long beyond its time."""
        return MaintenanceDuty(EXPIRE_APPROVALS, _EVERY_SECONDS, _LIMIT, self.run)

    async def run(self, limit: int) -> int:
        """Decide what has expired; return how many were decided. One that fails stays due."""
        now = self._clock.now()
        due = await self._store.due(now, limit)
        return sum([await self._settle(one, now) for one in due])

    async def _settle(self, found: tuple[str, Wait] | Unreadable, now: int) -> bool:
        """Decide one; fail its execution where it cannot be read. False where that failed."""
        if isinstance(found, Unreadable):
            return await self._last_resort.end_unreadable(found)
        return await self._decide(*found, now)

    async def _decide(self, workspace_id: str, approval: Wait, now: int) -> bool:
        """Decide one; False where that failed."""
        decision = Decision(approval.expires_approved, REASON)
        decide = DecideWait(
            workspace_id, approval.execution_id, approval.tool_call_id, now, decision
        )
        try:
            await self._store.decide(decide)
        except NotFound:
            logger.info("approval.gone", execution=approval.execution_id)
        except Overloaded:
            raise
        except Exception as error:  # noqa: BLE001 - one approval does not keep the others waiting
            self._failures.record(EXPIRE_APPROVALS, error)
            return False
        return True
