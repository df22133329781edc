"""Runs schedules that are due, each time once.

They are found by an index. The transaction that runs one locks its row, so no leader is needed for
that: the leader's duty is only to look.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from outlast.duty import Failures
from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.model.clock import Clock
from outlast.model.error import Overloaded
from outlast.model.schedule import SKIPPED, Schedule
from outlast.store.schedules.fire import Fired, Firing, Indexed
from outlast.store.schedules.store import ScheduleStore

FIRE_SCHEDULES: Final = "fire_schedules"
FORGET_RUNS: Final = "forget_schedule_runs"
_EVERY_SECONDS: Final = 1.0
_LIMIT: Final = 50
_FORGET_EVERY_SECONDS: Final = 60.0
_FORGET_LIMIT: Final = 500
KEPT_MILLIS: Final = 90 * 24 * 60 * 60 * 1000
"""How long runs are kept."""

logger = structlog.get_logger(__name__)


class DueSchedules:
    """Runs due schedules, and deletes the records of old runs."""

    def __init__(
        self,
        store: ScheduleStore,
        clock: Clock,
        failures: Failures,
        indexed: Indexed,
        max_live: int,
        counted: Callable[[str], None],
    ) -> None:
        """`indexed`, `max_live`: see Firing; `counted` gets the outcome of each run."""
        self._store = store
        self._clock = clock
        self._failures = failures
        self._firing = partial(Firing, new_id=clock.new_id, indexed=indexed, max_live=max_live)
        self._counted = counted

    @property
    def duties(self) -> tuple[MaintenanceDuty, ...]:
        """Every second, the longest delay of a due schedule; old runs every minute."""
        return (
            MaintenanceDuty(FIRE_SCHEDULES, _EVERY_SECONDS, _LIMIT, self.run),
            MaintenanceDuty(FORGET_RUNS, _FORGET_EVERY_SECONDS, _FORGET_LIMIT, self.forget),
        )

    async def run(self, limit: int) -> int:
        """Run due schedules; return how many times were decided on."""
        done = 0
        while done < limit:
            now = self._clock.now()
            due = await self._store.due(now, limit - done)
            if not due:
                break
            fired = await self._run(due, now)
            done += len(fired)
            if not any(_is_due(one.schedule, now) for one in fired):
                break
        return done

    async def _run(self, due: list[str], now: int) -> list[Fired]:
        """Run these in one transaction; one by one if that fails."""
        try:
            fired = await self._store.fire_due(self._firing(now), len(due))
        except Overloaded:
            raise
        except Exception as error:  # noqa: BLE001 - one schedule does not keep the others waiting
            self._failures.record(FIRE_SCHEDULES, error)
            return [fired for one in due for fired in await self._run_one(one, now)]
        self._note(fired)
        return fired

    async def _run_one(self, schedule_id: str, now: int) -> list[Fired]:
        """Run one, if it is due still; return nothing if that fails."""
        try:
            fired = await self._store.fire_one(self._firing(now), schedule_id)
        except Overloaded:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            self._failures.record(FIRE_SCHEDULES, error)
            return []
        self._note(fired)
        return fired

    def _note(self, fired: list[Fired]) -> None:
        for one in fired:
            schedule, run = one.schedule, one.run
            if run is not None:
                self._counted(_outcome(one))
            if run is not None and run.error not in (None, SKIPPED):
                assert run.error is not None
                logger.warning(
                    "schedule.not_started",
                    schedule=schedule.id,
                    code=run.error.code,
                    reason=run.error.message,
                )
            if schedule.paused_reason is not None:
                reason = schedule.paused_reason.value
                logger.warning("schedule.paused", schedule=schedule.id, reason=reason)

    async def forget(self, limit: int) -> int:
        """Delete old runs, at most `limit`; return how many were deleted."""
        return await self._store.forget_runs(self._clock.now() - KEPT_MILLIS, limit)


def _is_due(schedule: Schedule, now: int) -> bool:
    """Whether a catch-up has left a time that has passed."""
    return schedule.waiting is None and schedule.next_at is not None and schedule.next_at <= now


def _outcome(fired: Fired) -> str:
    assert fired.run is not None
    if fired.run.error is None:
        return "started"
    return "skipped" if fired.run.error == SKIPPED else "failed"
