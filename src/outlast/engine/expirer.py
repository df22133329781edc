"""Approvals that nobody decided in time are decided by default, once, by whichever process sees it.

What expires is found by an index; deciding is the same compare-and-set as a person's.
"""

import asyncio
from typing import Final

import structlog

from outlast.model.approval import Approval, Decision
from outlast.model.clock import Clock
from outlast.model.error import NotFound, OutlastError
from outlast.store.port import Decide, Store

_EVERY_SECONDS: Final = 1.0
_PAGE: Final = 100
REASON: Final = "Nobody decided in time."

logger = structlog.get_logger(__name__)


class Expirer:
    """Looks for expired approvals every second."""

    def __init__(self, store: Store, clock: Clock) -> None:
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

    async def expire(self) -> int:
        """Decide what has expired by now; how many there were."""
        now, found = self._clock.now(), 0
        while due := await self._store.due_approvals(now, _PAGE):
            for workspace_id, approval in due:
                await self._decide(workspace_id, approval, now)
            found += len(due)
            if len(due) < _PAGE:
                break
        return found

    async def _decide(self, workspace_id: str, approval: Approval, now: int) -> None:
        decision = Decision(approval.expires_approved, REASON)
        wish = Decide(
            workspace_id, approval.execution_id, approval.tool_call_id, now, decision, None
        )
        try:
            await self._store.decide(wish)
        except NotFound:
            logger.info("approval.gone", execution=approval.execution_id)

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(_EVERY_SECONDS)
            try:
                await self.expire()
            except OutlastError:
                logger.exception("approvals.not_expired")
