"""A schedule: an agent, an input, and when it runs."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from outlast.model.agent import MADE_OVER_HTTP
from outlast.model.error import InvalidField, MissingField
from outlast.model.execution import Budget
from outlast.model.memory import Access, MemoryAccess
from outlast.model.timetable import (
    Timetable,
    checked_cron,
    checked_times,
    newest,
    runs,
    spread,
    zone_of,
)

DEFAULT_INPUT: Final = "Carry out your instructions."
"""Input of a scheduled or background run for which none is given."""
LATE_MILLIS: Final = 60_000
"""A run that begins later than this is late: it catches up."""
MOST_MISSED: Final = 100
"""Maximum of runs that are caught up; missed ones are counted up to it."""
MOST_TIMES: Final = 100
"""Maximum runs a day of a schedule with times."""
LONGEST_NAME: Final = 256
MOST_JITTER: Final = 300
"""Maximum of `jitter_seconds`."""
LONGEST_WINDOW: Final = 31 * 24 * 60 * 60
"""Maximum seconds of `catch_up_window`."""


class Overlap(StrEnum):
    """What to do at a run's time while an earlier run is live."""

    SKIP = "skip"
    QUEUE = "queue"
    """Run it once the earlier one has ended."""
    CANCEL = "cancel"
    """Cancel the earlier one."""
    ALLOW = "allow"


class CatchUp(StrEnum):
    """Which runs are made up for whose time has passed unnoticed."""

    LAST = "last"
    NONE = "none"
    ALL = "all"


class PausedReason(StrEnum):
    """Why a schedule is paused."""

    REQUESTED = "requested"
    AGENT_PAUSED = "agent_paused"
    FAILURES = "failures"
    """Too many runs in a row could not start."""
    ENDED = "ended"
    """No run is left."""
    UNREADABLE = "unreadable"
    """Its next run cannot be computed, as of an unknown time zone."""


class Trigger(StrEnum):
    """What made a run begin."""

    SCHEDULE = "schedule"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True)
class Definition:
    """What a schedule is made with. Times are milliseconds since the epoch."""

    cron: str | None
    """None: `times`, every day."""
    times: tuple[str, ...] = ()
    timezone: str = "UTC"
    input: str = DEFAULT_INPUT
    metadata: dict[str, Any] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)
    overlap: Overlap = Overlap.SKIP
    catch_up: CatchUp = CatchUp.LAST
    catch_up_window: int = 24 * 60 * 60
    """Seconds after which a run is not made up for."""
    start_at: int | None = None
    end_at: int | None = None
    jitter_seconds: int = 0
    pause_after_failures: int = 3
    """Runs in a row that could not start before the schedule is paused."""
    memory_stores: tuple[MemoryAccess, ...] | None = None
    """None: those that the agent names."""

    @property
    def timetable(self) -> Timetable:
        """When it runs."""
        return Timetable(self.cron, self.times, self.timezone)

    def next_after(self, at: int) -> int | None:
        """Return the first run later than this, between its start and its end.

        Raises UnknownZone.
        """
        at = at if self.start_at is None else max(at, self.start_at - 1)
        found = self.timetable.after(at)
        return None if found is None or self._is_over(found) else found

    def checked(self) -> "Definition":
        """Return it with its expression and its times in their short form.

        Raises InvalidField, MissingField.
        """
        if self.cron is None and not self.times:
            raise MissingField("cron: one of cron and times is required.", param="cron")
        if self.cron is not None and self.times:
            raise InvalidField("times: either cron or times.", param="times")
        zone_of(self.timezone)
        if self.start_at is not None and self.end_at is not None and self.end_at <= self.start_at:
            raise InvalidField("endAt: must be after startAt.", param="endAt")
        if self.cron is not None:
            return replace(self, cron=checked_cron(self.cron))
        return replace(self, times=checked_times(list(self.times)))

    def _is_over(self, at: int) -> bool:
        return self.end_at is not None and at > self.end_at


def definition_from(written: dict[str, Any]) -> Definition:
    """Return the definition that `asdict` wrote. Raises TypeError, KeyError or ValueError."""
    return Definition(
        **{
            **written,
            "times": tuple(written["times"]),
            "budget": Budget(**written["budget"]),
            "overlap": Overlap(written["overlap"]),
            "catch_up": CatchUp(written["catch_up"]),
            "memory_stores": _stores_from(written.get("memory_stores")),
        }
    )


def _stores_from(written: list[dict[str, str]] | None) -> tuple[MemoryAccess, ...] | None:
    if written is None:
        return None
    return tuple(MemoryAccess(one["id"], Access(one["access"])) for one in written)


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule's row. Times are milliseconds since the epoch."""

    id: str
    workspace_id: str
    agent_id: str
    definition: Definition
    created_at: int
    updated_at: int
    name: str | None = None
    source: str = MADE_OVER_HTTP
    """The agents file that contains it, as given by the operator; or MADE_OVER_HTTP."""
    conversation_id: str | None = None
    """The conversation of its runs; None: a new one for each."""
    key_id: str | None = None
    paused_reason: PausedReason | None = None
    """None: it is active."""
    next_run: int | None = None
    """Time of its next run that is still to be decided on; None if there is none."""
    next_at: int | None = None
    """When that run is due, with its jitter; None: never."""
    waiting: Trigger | None = None
    """A run that waits for the end of an earlier one."""
    last_scheduled: int = 0
    """Time of the newest run that was decided on: none is scheduled at or before it again."""
    last_run_at: int | None = None
    """When a run began last."""
    failures: int = 0
    """Runs in a row that could not start."""
    missed: int = 0
    """Runs that were not made up for since the last one."""

    @property
    def is_active(self) -> bool:
        """Whether its runs are scheduled."""
        return self.paused_reason is None

    @property
    def of_file(self) -> bool:
        """Whether an agents file defines it."""
        return self.source != MADE_OVER_HTTP

    def next_runs(self, most: int) -> list[int]:
        """Return its next runs, the one that is due first. Raises UnknownZone."""
        found: list[int] = []
        at = self.next_run
        while at is not None and len(found) < most:
            found.append(at)
            at = self.definition.next_after(at)
        return found

    def scheduled(self, after: int) -> "Schedule":
        """Return it with its next run later than this; paused if there is none.

        Raises UnknownZone.
        """
        next_run = self.definition.next_after(max(after, self.last_scheduled))
        if next_run is None:
            return self.paused(PausedReason.ENDED)
        return replace(self, next_run=next_run, next_at=self.due_at(next_run))

    def paused(self, reason: PausedReason) -> "Schedule":
        """Return it without a next run; a manual run that waits goes on waiting."""
        waiting = self.waiting if self.waiting is Trigger.MANUAL else None
        next_at = self.next_at if waiting else None
        return replace(self, paused_reason=reason, next_run=None, next_at=next_at, waiting=waiting)

    def due_at(self, run: int) -> int:
        """Return when a run is due: with its jitter, and before the next run."""
        longest = self.definition.jitter_seconds * 1000
        if not longest:
            return run
        following = self.definition.timetable.after(run)
        longest = longest if following is None else min(longest, following - run - 1)
        return run + _mixed(f"{self.id} {run}") % (longest + 1)


def _mixed(text: str) -> int:
    """Return a number that looks random (FNV-1a, 64 bits)."""
    mixed = 0xCBF29CE484222325
    for byte in text.encode():
        mixed = (mixed ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return mixed >> 11


@dataclass(frozen=True, slots=True)
class Due:
    """The run that a due schedule makes."""

    run: int | None
    """Its scheduled time; None: none is made."""
    late: bool = False
    missed: int = 0
    """Runs before it that are not made up for, at most MOST_MISSED."""
    last_scheduled: int = 0
    """The newest run that this decides on."""


def due_run(schedule: Schedule, now: int) -> Due:
    """Return which run of a due schedule is made now, by its catch-up. Raises UnknownZone."""
    definition, first = schedule.definition, schedule.next_run
    assert first is not None
    since = now - definition.catch_up_window * 1000
    last = newest(definition.timetable, max(first, since), _until(definition, now))
    if last is not None and last > first and schedule.due_at(last) > now:  # by its jitter
        last = newest(definition.timetable, max(first, since), last - 1)
    if definition.catch_up is CatchUp.ALL:
        return _oldest_due(definition, first, max(first, since), now)
    if last is None:
        return Due(None, missed=_count(definition, first, now), last_scheduled=now)
    late = now - schedule.due_at(last) > LATE_MILLIS
    missed = _count(definition, first, last)
    if definition.catch_up is CatchUp.NONE and late and schedule.waiting is None:
        return Due(None, missed=missed + 1, last_scheduled=last)
    return Due(last, late, missed, last)


def _oldest_due(definition: Definition, first: int, since: int, now: int) -> Due:
    """Return the oldest run that can be made up for; the later ones stay due."""
    pending: list[int] = []
    for at in runs(definition.timetable, since - 1):
        if at > _until(definition, now):
            break
        pending = [*pending[-(MOST_MISSED - 1) :], at]
    if not pending:
        return Due(None, missed=_count(definition, first, now), last_scheduled=now)
    oldest = pending[0]
    return Due(oldest, now - oldest > LATE_MILLIS, _count(definition, first, oldest), oldest)


def _until(definition: Definition, now: int) -> int:
    return now if definition.end_at is None else min(now, definition.end_at)


def _count(definition: Definition, first: int, before: int) -> int:
    """Return the number of runs from `first` until before this, at most MOST_MISSED."""
    count = 0
    for at in runs(definition.timetable, first - 1):
        if at >= before or count == MOST_MISSED:
            break
        count += 1
    return count


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run did not start."""

    code: str
    message: str


SKIPPED: Final = RunError("skipped", "The run before it was live.")
"""A run that its schedule's overlap has left out; it is no failure."""


@dataclass(frozen=True, slots=True)
class ScheduleRun:
    """One time that a schedule ran or did not: it has an execution or an error."""

    id: str
    schedule_id: str
    trigger: Trigger
    at: int
    scheduled_at: int | None = None
    """None for a manual run."""
    execution_id: str | None = None
    error: RunError | None = None
    late: bool = False
    missed: int = 0
    """Runs before it that were not made up for, up to a hundred."""


def times_of_day(per_day: int | None, times: list[str] | None) -> list[str] | None:
    """Return the times that are given, or so many; None if neither is. Raises InvalidField."""
    if per_day is None or times is not None:
        if per_day is not None and times is not None and per_day != len(times):
            raise InvalidField(
                f"tasksPerDay: {per_day}, and {len(times)} times; leave one of them out.",
                param="tasksPerDay",
            )
        return times
    return spread(per_day)
