"""Runs schedules that are due, each time once.

They are found by an index. The transaction that runs one locks its row, so no leader is needed for
that: the leader's duty is only to look.
"""

import asyncio
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
_LIMIT: Final = 1000
_AT_ONCE: Final = 250
"""Schedules that one transaction fires."""
_AHEAD_MILLIS: Final = 1000
"""How far a look sees ahead, so that what is due before the next look is not late."""
_SHORTEST_SECONDS: Final = 0.001
_AGAIN_MILLIS: Final = 30_000
"""How long one is left alone whose transaction has failed."""
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
        self._next: int | None = None
        """When the next schedule is due, if that is before the next look."""
        self._failing: dict[str, int] = {}
        """Schedules whose transaction has failed, and until when each is left alone."""

    @property
    def duties(self) -> tuple[MaintenanceDuty, ...]:
        """At the time that is due next, and every second; old runs every minute."""
        return (
            MaintenanceDuty(FIRE_SCHEDULES, _EVERY_SECONDS, _LIMIT, self.run, self._sleep),
            MaintenanceDuty(FORGET_RUNS, _FORGET_EVERY_SECONDS, _FORGET_LIMIT, self.forget),
        )

    async def run(self, limit: int) -> int:
        """Run due schedules; return how many times were decided on."""
        done = 0
        while done < limit:
            now = self._clock.now()
            due = await self._look(now, limit - done)
            fired = await self._run_all(due, now)
            done += len(fired)
            if not any(_is_due(one.schedule, now) for one in fired):
                return max(done, limit) if fired and len(due) == limit else done
        return done

    async def _look(self, now: int, limit: int) -> list[str]:
        """Return the ids of due schedules, and note when the next one is due."""
        self._failing = {one: until for one, until in self._failing.items() if until > now}
        found = await self._store.due(now + _AHEAD_MILLIS, limit + len(self._failing))
        self._next = min((at for _, at in found if at > now), default=None)
        due = [one for one, at in found if at <= now and one not in self._failing]
        return due[:limit]

    async def _sleep(self, seconds: float) -> None:
        """Sleep until the next schedule is due, at most for so long."""
        if self._next is not None:
            left = (self._next - self._clock.now()) / 1000
            seconds = min(seconds, max(left, _SHORTEST_SECONDS))
        await self._clock.sleep(seconds)

    async def _run_all(self, due: list[str], now: int) -> list[Fired]:
        """Run these in a few transactions at once: they are over before what they start begins."""
        parts = [due[at : at + _AT_ONCE] for at in range(0, len(due), _AT_ONCE)]
        runs = (self._run(part, now) for part in parts)
        found: list[Fired] = []
        for part in await asyncio.gather(*runs, return_exceptions=True):
            if isinstance(part, BaseException):
                raise part
            found += part
        return found

    async def _run(self, due: list[str], now: int) -> list[Fired]:
        """Run these in one transaction; each half by itself if that fails."""
        try:
            fired = await self._store.fire_due(self._firing(now), due)
        except Overloaded:
            raise
        except Exception as error:  # noqa: BLE001 - one schedule does not keep the others waiting
            self._failures.record(FIRE_SCHEDULES, error)
            if len(due) == 1:
                self._failing[due[0]] = now + _AGAIN_MILLIS
                return []
            half = len(due) // 2
            return [*await self._run(due[:half], now), *await self._run(due[half:], now)]
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
