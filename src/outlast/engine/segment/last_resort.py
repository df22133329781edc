"""Ends executions whose segment raised an error instead of ending them.

The database is unavailable ──► tried again without bound, and the try does not count
the database refuses, or the row cannot be read ──► failed, by a write that needs neither
neither, repeatedly ──► failed after `max_tries`; given up for an hour if even that is refused
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
"""Maximum executions whose failures are counted; beyond that all counts restart."""

_GIVEN_UP_SECONDS: Final = 3600.0
"""Delay before an execution that could not be failed either is tried again."""

logger = structlog.get_logger(__name__)


def without_progress(tries: int) -> Failure:
    """Return the failure of an execution whose tries are used up."""
    times = "once" if tries == 1 else f"{tries} times"
    return Failure(
        "internal_error",
        "internal_error",
        f"The execution was tried {times} without progress: whenever it ran, its process ended or "
        "failed before a step was recorded.",
    )


class LastResort:
    """Ends executions that segments cannot end, and counts consecutive failures."""

    def __init__(self, store: Store, clock: Clock, max_tries: int) -> None:
        self._store = store
        self._clock = clock
        self._max_tries = max_tries
        self._failed: dict[str, int] = {}
        """Consecutive failures by execution; the row may not contain them."""
        self._away: set[str] = set()
        """Executions whose last try ended because the database was unavailable."""
        self._given_up: dict[str, float] = {}
        """Monotonic time of the last try of executions that were given up."""

    def was_away(self, execution_id: str) -> bool:
        """Whether the last try ended only because the database was unavailable; then reset it."""
        found = execution_id in self._away
        self._away.discard(execution_id)
        return found

    def retry_seconds(self, execution_id: str, usual: float) -> float:
        """Return the delay before the next try: an hour for an execution that was given up."""
        return _GIVEN_UP_SECONDS if execution_id in self._given_up else usual

    def succeeded(self, execution_id: str) -> None:
        """Reset the failures of an execution whose segment has ended normally."""
        if self._failed:
            self._failed.pop(execution_id, None)
            self._given_up.pop(execution_id, None)

    async def failed(self, execution: Execution, error: BaseException) -> bool:
        """Settle the error of a segment; return False if another try is due.

        It is due after `retry_seconds`.
        """
        if not isinstance(error, Overloaded):
            logger.error("segment.failed", exc_info=error)
            return await self.end(
                execution.workspace_id, execution.id, OUR_MISTAKE, execution.segment
            )
        return await self.unreachable(execution.workspace_id, execution.id, error)

    async def unreachable(self, workspace_id: str, execution_id: str, error: Overloaded) -> bool:
        """Count a failure if the database is available after all; return as `failed` does."""
        self._given_up.pop(execution_id, None)
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
        """Fail the execution, or give it up if that is refused too; return as `failed` does."""
        now = self._clock.now()
        return await self._end(ForcedFailure(workspace_id, execution_id, now, failure, segment))

    async def end_unreadable(self, row: Unreadable) -> bool:
        """Fail the execution of a row that a list could not read; return as `failed` does."""
        tried = self._given_up.get(row.execution_id)
        if tried is not None and self._clock.monotonic() - tried < _GIVEN_UP_SECONDS:
            return False
        logger.error("execution.unreadable", execution=row.execution_id)
        now = self._clock.now()
        return await self._end(
            ForcedFailure(row.workspace_id, row.execution_id, now, UNREADABLE, resting=True)
        )

    async def _end(self, request: ForcedFailure) -> bool:
        execution_id = request.execution_id
        self._given_up.pop(execution_id, None)
        try:
            await self._store.executions.force_failure(request)
        except Exception as error:
            if isinstance(error, Overloaded) and await self._is_away():
                return False
            tries = self._count(execution_id)
            if tries < self._max_tries:
                logger.exception("execution.not_ended", execution=execution_id, tries=tries)
                return False
            logger.exception("execution.given_up", execution=execution_id, tries=tries)
            self._given_up[execution_id] = self._clock.monotonic()
            return False
        self._failed.pop(execution_id, None)
        return True

    async def _is_away(self) -> bool:
        """Whether the database is unavailable."""
        try:
            await self._store.ready()
        except Exception:  # noqa: BLE001 - any error means unavailable
            return True
        return False

    def _count(self, execution_id: str) -> int:
        if len(self._failed) >= _MOST:
            self._failed.clear()
            self._given_up.clear()
        count = self._failed[execution_id] = self._failed.get(execution_id, 0) + 1
        return count
