"""Approvals that nobody decided in time are decided by default, once, by whichever process sees it.

What expires is found by an index; deciding is the same compare-and-set as a person's.
"""

from typing import Final

import structlog

from outlast.duty import Duty, Failures
from outlast.model.approval import Approval, Decision
from outlast.model.clock import Clock
from outlast.model.error import NotFound, Overloaded
from outlast.store.port import Decide, Store

_DUTY: Final = "expire_approvals"
_EVERY_SECONDS: Final = 1.0
_PAGE: Final = 100
REASON: Final = "Nobody decided in time."

logger = structlog.get_logger(__name__)


class Expirer:
    """Looks for expired approvals every second."""

    def __init__(self, store: Store, clock: Clock, failures: Failures) -> None:
        self._store = store
        self._clock = clock
        self._failures = failures
        self._duty = Duty(
            _DUTY, self.expire, every=_EVERY_SECONDS, sleep=clock.sleep, failures=failures
        )

    def start(self) -> None:
        """Begin to look."""
        self._duty.start()

    async def stop(self) -> None:
        """Look no more; nothing is lost by it."""
        await self._duty.stop()

    async def expire(self) -> int:
        """Decide what has expired by now; how many there were. One that fails stays due."""
        now, found = self._clock.now(), 0
        while due := await self._store.due_approvals(now, _PAGE):
            decided = [await self._decide(*one, now) for one in due]
            found += len(due)
            if len(due) < _PAGE or not all(decided):
                break
        return found

    async def _decide(self, workspace_id: str, approval: Approval, now: int) -> bool:
        """Decide one; False where that failed."""
        decision = Decision(approval.expires_approved, REASON)
        wish = Decide(
            workspace_id, approval.execution_id, approval.tool_call_id, now, decision, None
        )
        try:
            await self._store.decide(wish)
        except NotFound:
            logger.info("approval.gone", execution=approval.execution_id)
        except Overloaded:
            raise
        except Exception as error:  # noqa: BLE001 - one approval does not keep the others waiting
            self._failures.record(_DUTY, error)
            return False
        return True
