"""What becomes of an execution that a segment has failed by an error instead of ending it.

The database is away ──► again, however often, and the try does not count
the database refuses, or the row cannot be read ──► failed, by a write that needs neither
neither, again and again ──► failed after `max_tries`; given up where even that is refused
"""

from typing import Final

import structlog

from outlast.model.clock import Clock
from outlast.model.error import Overloaded
from outlast.model.execution import OUR_MISTAKE, UNREADABLE, Execution, Failure
from outlast.store.executions.values import ForcedFailure
from outlast.store.store import Store
from outlast.store.unreadable import Unreadable

_MOST: Final = 10_000
"""Executions whose failures are remembered; what is forgotten is counted anew."""

logger = structlog.get_logger(__name__)


def without_progress(tries: int) -> Failure:
    """The failure of an execution whose tries are used up."""
    times = "once" if tries == 1 else f"{tries} times"
    return Failure(
        "internal_error",
        "internal_error",
        f"The execution was tried {times} without progress: whenever it ran, its process ended or "
        "failed before a step was recorded.",
    )


class LastResort:
    """Ends what segments cannot end, and counts how often this process has failed with it."""

    def __init__(self, store: Store, clock: Clock, max_tries: int) -> None:
        self._store = store
        self._clock = clock
        self._max_tries = max_tries
        self._failed: dict[str, int] = {}
        """Failures in a row, by execution, that the row may know nothing of."""
        self._away: set[str] = set()
        """Executions whose last try the database's absence has ended."""

    def was_away(self, execution_id: str) -> bool:
        """Whether the last try ended only because the database was away; asked once."""
        found = execution_id in self._away
        self._away.discard(execution_id)
        return found

    def succeeded(self, execution_id: str) -> None:
        """Forget the failures of an execution whose segment has ended as it should."""
        if self._failed:
            self._failed.pop(execution_id, None)

    async def failed(self, execution: Execution, error: BaseException) -> bool:
        """Settle what a segment has failed by; False where another try is due."""
        if not isinstance(error, Overloaded):
            logger.error("segment.failed", exc_info=error)
            return await self.end(
                execution.workspace_id, execution.id, OUR_MISTAKE, execution.segment
            )
        return await self.unreachable(execution.workspace_id, execution.id, error)

    async def unreachable(self, workspace_id: str, execution_id: str, error: Overloaded) -> bool:
        """Count a failure where the database answers all the same; False as above."""
        if await self._is_away():
            self._away.add(execution_id)
            logger.warning("segment.interrupted", reason=error.message)
            return False
        tries = self._count(execution_id)
        logger.error("segment.failed", tries=tries, exc_info=error)
        if tries < self._max_tries:
            return False
        return await self.end(workspace_id, execution_id, without_progress(tries))

    async def end(
        self, workspace_id: str, execution_id: str, failure: Failure, segment: int | None = None
    ) -> bool:
        """Fail the execution, or give it up where that is refused too; False as above."""
        now = self._clock.now()
        return await self._end(ForcedFailure(workspace_id, execution_id, now, failure, segment))

    async def end_unreadable(self, row: Unreadable) -> bool:
        """Fail the execution of a row that a list could not read; False as above."""
        logger.error("execution.unreadable", execution=row.execution_id)
        now = self._clock.now()
        return await self._end(
            ForcedFailure(row.workspace_id, row.execution_id, now, UNREADABLE, resting=True)
        )

    async def _end(self, request: ForcedFailure) -> bool:
        execution_id = request.execution_id
        try:
            await self._store.executions.force_failure(request)
        except Exception as error:
            if isinstance(error, Overloaded) and await self._is_away():
                return False
            tries = self._count(execution_id)
            if tries < self._max_tries:
                logger.exception("execution.not_ended", tries=tries)
                return False
            logger.exception("execution.given_up", tries=tries)
        self._failed.pop(execution_id, None)
        return True

    async def _is_away(self) -> bool:
        """Whether the database takes nothing at all."""
        try:
            await self._store.ready()
        except Exception:  # noqa: BLE001 - whatever keeps it from answering
            return True
        return False

    def _count(self, execution_id: str) -> int:
        if len(self._failed) >= _MOST:
            self._failed.clear()
        count = self._failed[execution_id] = self._failed.get(execution_id, 0) + 1
        return count
