"""Transactions that run schedules: those that are due, and one by hand.

A schedule's row is locked; the execution is inserted, the run recorded and the next time set in the
same transaction, so that each time is decided on once, however many processes try. Rows are locked
in this order: the schedule, then as in `executions.create`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias, TypeVar

from outlast.model.error import (
    ConversationNotFound,
    QuotaExceeded,
    TooManyTurns,
)
from outlast.model.execution import Execution, RequestContext
from outlast.model.ids import CONVERSATION, EXECUTION
from outlast.model.memory import MemoryAccess
from outlast.model.schedule import (
    MOST_MISSED,
    SKIPPED,
    Due,
    Overlap,
    PausedReason,
    RunError,
    Schedule,
    ScheduleRun,
    Trigger,
    due_run,
)
from outlast.store.conversations.rows import LOCK_CONVERSATION
from outlast.store.driver import Batch, Part, Query, Row, Transaction, TransactionResult
from outlast.store.executions.create import create, interrupt
from outlast.store.executions.rows import execution_from
from outlast.store.executions.statements import LIVE_IN_CONVERSATION, REQUEST_CANCEL
from outlast.store.executions.values import NewExecution
from outlast.store.listeners import Committed
from outlast.store.schedules.memory import memory_of_runs
from outlast.store.schedules.rows import schedule_from
from outlast.store.schedules.statements import (
    LIVE_OF_SCHEDULES,
    LOCK_DUE_SCHEDULES,
    PARK_SCHEDULE,
    STARTABLE,
    moved,
    run_inserted,
)

T = TypeVar("T")
Indexed: TypeAlias = Callable[[Mapping[str, Any]], tuple[tuple[str, str], ...]]

RUN: Final = "run"
"""Prefix of a run's id."""
AGENT_GONE: Final = RunError("agent_not_found", "The agent is retired or does not exist.")
AGENT_PAUSED: Final = RunError("agent_paused", "The agent is paused.")
CONVERSATION_GONE: Final = RunError(ConversationNotFound.code, ConversationNotFound().message)
BROKEN: Final = RunError(
    "internal_error", "The schedule's next run cannot be computed, as of an unknown time zone."
)


@dataclass(frozen=True, slots=True)
class Firing:
    """The time, and what a new execution needs besides the rows."""

    now: int
    new_id: Callable[[str], str]
    """Returns a new id with this prefix."""
    indexed: Indexed
    """Returns the names and values of metadata to index."""
    max_live: int
    """Maximum live executions in a conversation."""


@dataclass(frozen=True, slots=True)
class Fired:
    """What has become of a schedule's time."""

    schedule: Schedule
    """As it is now."""
    run: ScheduleRun | None
    """None: it waits, or nothing is run for a time that has passed."""
    replayed: bool = False
    """The idempotency key was known; the run is that of the first request."""


@dataclass(slots=True)
class Effects:
    """What follows the commit."""

    committed: list[Committed] = field(default_factory=list)
    runnable: list[Execution] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)

    def result(self, value: T) -> TransactionResult[T]:
        """Return the transaction's result."""
        return TransactionResult(
            value, tuple(self.committed), tuple(self.runnable), cancelled=tuple(self.cancelled)
        )


@dataclass(frozen=True, slots=True)
class Ready:
    """What the run of a locked schedule needs to know."""

    agent: Row | None
    """Its id, workspace, version, name, whether it is paused, when it was retired, whether budgets
    bound it, and its definition."""
    live: tuple[Execution, ...]
    """Executions before it: the schedule's, and the conversation's turns."""
    stores: tuple[MemoryAccess, ...] | RunError = ()
    """The memory stores of its execution, or why one is missing."""
    lost: bool = False
    """Whether the conversation does not exist."""


Parts: TypeAlias = Part[tuple[Schedule, ScheduleRun | None]]


def fire_due(firing: Firing, ids: Sequence[str]) -> Transaction[list[Fired]]:
    """Run these schedules if they are due still; return what became of each.

    One that another process has locked is left out.
    """
    locked = [{"id": one, "now": firing.now} for one in sorted(ids)]
    rows = yield Batch(LOCK_DUE_SCHEDULES, tuple(locked))
    due = yield from _read(rows, firing.now)
    if not due:
        return TransactionResult([])
    readies = yield from ready_of(due)
    effects, fired = Effects(), []
    for schedule, ready in zip(due, readies, strict=True):
        fired.append(Fired(*(yield from _fire(firing, schedule, ready, effects))))
    yield moved([one.schedule for one in fired])
    return effects.result(fired)


def _read(rows: Sequence[Row], now: int) -> Part[list[Schedule]]:
    """Read the schedules, one of each conversation; those that cannot be read are paused."""
    found: dict[str, Schedule] = {}
    for row in rows:
        try:
            schedule = schedule_from(row)
        except (ValueError, TypeError, LookupError):
            yield Query(PARK_SCHEDULE, {"given_id": row[0], "at": now})
            continue
        found.setdefault(schedule.conversation_id or schedule.id, schedule)
    return [found[key] for key in sorted(found)]


def ready_of(due: Sequence[Schedule]) -> Part[list[Ready]]:
    """Read what the runs need; turns of a conversation are locked."""
    of_agents = dict.fromkeys((one.agent_id, one.workspace_id) for one in due)
    named = tuple({"id": one, "workspace": workspace} for one, workspace in of_agents)
    agents = {row[:2]: row for row in (yield Batch(STARTABLE, named))}
    running: dict[str | None, list[Execution]] = {}
    for row in (yield Batch(LIVE_OF_SCHEDULES, tuple({"id": one.id} for one in due))):
        execution = execution_from(row)
        running.setdefault(execution.origin.schedule_id, []).append(execution)
    stores = yield from memory_of_runs(due, agents)
    readies: list[Ready] = []
    for one, given in zip(due, stores, strict=True):
        agent = agents.get((one.agent_id, one.workspace_id))
        live = tuple(running.get(one.id, ()))
        if one.conversation_id is None:
            readies.append(Ready(agent, live, given))
            continue
        turns = yield from _turns(one)
        elsewhere = [run for run in live if run.conversation_id != one.conversation_id]
        # Turns are as of the lock, and in order: the end of one lets the next of them begin.
        readies.append(Ready(agent, (*elsewhere, *(turns or ())), given, lost=turns is None))
    return readies


def _turns(schedule: Schedule) -> Part[list[Execution] | None]:
    """Lock the conversation and return its live executions; None if there is no such one."""
    of = {"workspace": schedule.workspace_id, "conversation": schedule.conversation_id}
    if not (yield Query(LOCK_CONVERSATION, of)):
        return None
    rows = yield Query(LIVE_IN_CONVERSATION, of)
    return [execution_from(row) for row in rows]


def _fire(firing: Firing, schedule: Schedule, ready: Ready, effects: Effects) -> Parts:
    """Decide on the time that is due."""
    if schedule.waiting is Trigger.MANUAL:
        return (yield from _fire_by_hand(firing, schedule, ready, effects))
    if ready.agent is not None and ready.agent[4] and ready.agent[5] is None:
        return replace(schedule.paused(PausedReason.AGENT_PAUSED), updated_at=firing.now), None
    try:
        due = due_run(schedule, firing.now)
        following = _after(schedule, due)
    except Exception:  # noqa: BLE001 - a broken definition may raise anything, and holds up nothing
        broken = schedule.paused(PausedReason.UNREADABLE)
        run = _run(firing, schedule, Trigger.SCHEDULE, schedule.next_run, error=BROKEN)
        yield run_inserted(schedule.workspace_id, run)
        return replace(broken, failures=schedule.failures + 1, updated_at=firing.now), run
    if due.run is None:
        missed = min(MOST_MISSED, schedule.missed + due.missed)
        return replace(following, missed=missed), None
    overlap = schedule.definition.overlap
    if ready.live and overlap is Overlap.QUEUE:
        return replace(schedule, waiting=Trigger.SCHEDULE), None
    due = replace(due, missed=min(MOST_MISSED, schedule.missed + due.missed))
    error = yield from _begin(firing, schedule, ready, overlap, due, effects)
    return (yield from _recorded(firing, following, Trigger.SCHEDULE, due, error))


def _fire_by_hand(firing: Firing, schedule: Schedule, ready: Ready, effects: Effects) -> Parts:
    """Make the run that was requested and had to wait."""
    overlap = schedule.definition.overlap
    if ready.live and overlap is not Overlap.ALLOW:
        return schedule, None
    return (yield from by_hand(firing, schedule, ready, overlap, effects))


def by_hand(
    firing: Firing, schedule: Schedule, ready: Ready, overlap: Overlap, effects: Effects
) -> Parts:
    """Run a locked schedule now; its next time stays as it is."""
    next_at = None if schedule.next_run is None else schedule.due_at(schedule.next_run)
    after = replace(schedule, waiting=None, next_at=next_at)
    due = Due(None)
    error = yield from _begin(firing, schedule, ready, overlap, due, effects)
    return (yield from _recorded(firing, after, Trigger.MANUAL, due, error))


def _after(schedule: Schedule, due: Due) -> Schedule:
    """Return the schedule at its next time; a catch-up may leave one that has passed."""
    decided = max(schedule.last_scheduled, due.last_scheduled)
    return replace(schedule, last_scheduled=decided, waiting=None, missed=0).scheduled(decided)


def _begin(
    firing: Firing,
    schedule: Schedule,
    ready: Ready,
    overlap: Overlap,
    due: Due,
    effects: Effects,
) -> Part[str | RunError]:
    """Start the execution; return its id, or why it does not start."""
    if (refusal := _refusal(ready, overlap)) is not None:
        return refusal
    if isinstance(ready.stores, RunError):
        return ready.stores
    assert ready.agent is not None
    try:
        if ready.live and overlap is Overlap.CANCEL:
            yield from _cancel(ready.live, firing.now, effects)
        new = _new(firing, schedule, ready.agent, due, ready.stores)
        created = yield from create(new)
    except (ConversationNotFound, QuotaExceeded, TooManyTurns) as error:
        return RunError(error.code, error.message)
    effects.committed += created.committed
    effects.runnable += created.runnable
    effects.cancelled += created.cancelled
    return new.id


def _refusal(ready: Ready, overlap: Overlap) -> RunError | None:
    """Return why it does not start, as far as that is known without creating it."""
    if ready.agent is None or ready.agent[5] is not None:
        return AGENT_GONE
    if ready.agent[4]:
        return AGENT_PAUSED
    if ready.lost:
        return CONVERSATION_GONE
    return SKIPPED if ready.live and overlap is Overlap.SKIP else None


def _cancel(live: Sequence[Execution], now: int, effects: Effects) -> Part[None]:
    """Cancel at once what no process runs; leave a request to the processes of the others."""
    left, ended = yield from interrupt(live, now)
    for one in left:
        yield Query(REQUEST_CANCEL, {"id": one.id, "workspace": one.workspace_id})
    effects.committed += ended.committed
    effects.cancelled += [*ended.cancelled, *(one.id for one in left)]


def _new(
    firing: Firing,
    schedule: Schedule,
    agent: Row,
    due: Due,
    memory_stores: tuple[MemoryAccess, ...],
) -> NewExecution:
    definition, kept = schedule.definition, schedule.conversation_id
    _, _, version, name, _, _, budgeted, _ = agent
    return NewExecution(
        id=firing.new_id(EXECUTION),
        workspace_id=schedule.workspace_id,
        agent_id=schedule.agent_id,
        agent_version=version,
        conversation_id=firing.new_id(CONVERSATION) if kept is None else kept,
        new_conversation=kept is None,
        input=definition.input,
        at=firing.now,
        key_id=schedule.key_id,
        metadata=definition.metadata,
        budget=definition.budget,
        origin=RequestContext(
            schedule_id=schedule.id, scheduled_at=due.run, late=due.late, missed=due.missed
        ),
        indexed=firing.indexed(definition.metadata),
        max_live=firing.max_live,
        budgeted=bool(budgeted),
        memory_stores=memory_stores,
        agent_name=name,
    )


def _run(
    firing: Firing,
    schedule: Schedule,
    trigger: Trigger,
    scheduled_at: int | None,
    *,
    error: RunError | None = None,
    execution_id: str | None = None,
    due: Due | None = None,
) -> ScheduleRun:
    return ScheduleRun(
        firing.new_id(RUN),
        schedule.id,
        trigger,
        firing.now,
        scheduled_at,
        execution_id,
        error,
        due is not None and due.late,
        0 if due is None else due.missed,
    )


def _recorded(
    firing: Firing, after: Schedule, trigger: Trigger, due: Due, begun: str | RunError
) -> Parts:
    """Record the run; pause a schedule whose runs cannot start."""
    failed = begun if isinstance(begun, RunError) else None
    execution_id = begun if isinstance(begun, str) else None
    run = _run(firing, after, trigger, due.run, error=failed, execution_id=execution_id, due=due)
    yield run_inserted(after.workspace_id, run)
    if failed is None:
        return replace(after, failures=0, last_run_at=firing.now), run
    if failed == SKIPPED or trigger is Trigger.MANUAL:
        return after, run
    after = replace(after, failures=after.failures + 1)
    if after.is_active and after.failures >= after.definition.pause_after_failures:
        after = replace(after.paused(PausedReason.FAILURES), updated_at=firing.now)
    return after, run
