"""Child executions, in the transactions of their parents and in their own.

A child is inserted in the transaction that records its parent's call, and its end decides the
parent's wait. Rows are locked in one order: the child, then its parent, then the root (see
docs/decisions/lock-order.md). A child's conversation has no row: it is in no list, and no other
execution joins it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog
from sqlalchemy import bindparam, insert, literal_column, select, update

from outlast.model.error import StaleWrite
from outlast.model.event import ChildFinished, Entry, ExecutionCancelled
from outlast.model.execution import (
    TERMINAL,
    UNREADABLE,
    Execution,
    Failure,
    PauseRequest,
    Status,
    at_rest,
)
from outlast.model.text import shortened
from outlast.model.unreadable import ExecutionUnreadable
from outlast.model.usage import Spent
from outlast.model.wait import CallResult
from outlast.store.conversations.rows import LOCK_TURNS
from outlast.store.driver import Batch, Part, Query, Row, Statement, Together
from outlast.store.executions.below import Live, UnreadChild, lock_live_below, read_of
from outlast.store.executions.columns import PLACES
from outlast.store.executions.locks import compare_and_set
from outlast.store.executions.log import append, insert_event
from outlast.store.executions.rows import execution_of, first_entry, new_columns
from outlast.store.executions.spending import release
from outlast.store.executions.spent_below import spent_below_each, with_spent
from outlast.store.executions.statements import (
    EXECUTION,
    INSERT_EXECUTION,
    LOCK_PLACE,
    OWNED,
    RELEASE_WAITING,
    REQUEST_CANCEL,
)
from outlast.store.executions.tables import execution_metadata, executions
from outlast.store.executions.turns import failed_unread, next_turn
from outlast.store.executions.values import Advance, ForcedFailure
from outlast.store.listeners import Committed
from outlast.store.waits.above import awaiting_now, tell_above, tell_root, withdrawn
from outlast.store.waits.child_ends import DecidedParent, children_ended, decided_parent

logger = structlog.get_logger(__name__)

MAX_OUTPUT_BYTES: Final = 262_144
"""Maximum bytes of a child's output that its parent's model reads; a longer one is cut."""
LIVE_CHILDREN: Final = 20
"""Maximum children of one execution that run at a time; the others wait in order."""

COPY_METADATA: Final = Statement(
    insert(execution_metadata).from_select(
        ["workspace_id", "name", "value", "execution_id"],
        select(
            execution_metadata.c.workspace_id,
            execution_metadata.c.name,
            execution_metadata.c.value,
            bindparam("given_id", type_=execution_metadata.c.execution_id.type),
        ).where(execution_metadata.c.execution_id == bindparam("id")),
    )
)
"""Indexes a child's metadata, which is its parent's."""

NEXT_CHILD: Final = Statement(
    select(*executions.c)
    .where(
        executions.c.parent_id == OWNED,
        executions.c.waiting.is_(True),
        executions.c.completed_at.is_(None),
    )
    .order_by(executions.c.id)
    .limit(literal_column("1"))
)
"""Selects the oldest child that waits for its siblings; the parent's row is locked."""

SUPERSEDE_CHILD: Final = Statement(
    update(executions)
    .where(
        executions.c.parent_id == bindparam("given_id"),
        executions.c.tool_call_id == bindparam("tool_call"),
        executions.c.superseded.is_(False),
    )
    .values(superseded=True)
    .returning(executions.c.id)
)
"""Hides the child of a call that a roll-back has superseded; it stays in records, and charged."""


@dataclass(frozen=True, slots=True)
class Effects:
    """Effects on other executions of a tree."""

    committed: tuple[Committed, ...] = ()
    runnable: tuple[Execution, ...] = ()
    cancelled: tuple[str, ...] = ()
    """Running ones that are requested to cancel."""
    paused: tuple[tuple[str, PauseRequest], ...] = ()
    """Running ones that are requested to pause."""
    ended: tuple[Execution, ...] = ()
    """Those below that are cancelled."""

    def __add__(self, other: "Effects") -> "Effects":
        return Effects(
            self.committed + other.committed,
            self.runnable + other.runnable,
            self.cancelled + other.cancelled,
            self.paused + other.paused,
            self.ended + other.ended,
        )


NOTHING: Final = Effects()


def insert_children(move: Advance) -> Part[Effects]:
    """Insert the children that a move creates, each with its first event."""
    committed: list[Committed] = []
    for new in move.children:
        child = new.execution
        yield Query(INSERT_EXECUTION, new_columns(child))
        entry = first_entry(child, new.agent)
        yield insert_event(child.id, entry)
        if child.metadata:
            yield Query(COPY_METADATA, {"given_id": child.id, "id": move.before.id})
        committed.append(Committed(child.id, (entry,), child))
    runnable = tuple(one.execution for one in move.children if not one.execution.waiting)
    return Effects(tuple(committed), runnable)


def result_of(child: Execution) -> CallResult:
    """Return what a child that has ended gives its parent's call."""
    match child.status:
        case Status.COMPLETED:
            return CallResult(shortened(child.output or "", MAX_OUTPUT_BYTES))
        case Status.FAILED if child.error is not None:
            return failed_with(child.error)
        case _:
            return CallResult("The agent's execution was cancelled.", is_error=True)


def failed_with(failure: Failure) -> CallResult:
    """Return what a child that has failed gives its parent's call."""
    text = shortened(f"The agent failed: {failure.message}", MAX_OUTPUT_BYTES)
    return CallResult(text, is_error=True)


@dataclass(frozen=True, slots=True)
class Call:
    """The call of a parent that a child carries out."""

    workspace_id: str
    parent_id: str
    tool_call_id: str
    child_id: str
    status: Status
    """How the child has ended."""


def call_of(child: Execution) -> Call | None:
    """Return the call that an execution carries out; None for a root."""
    if child.parent_id is None or child.tool_call_id is None:
        return None
    status = child.status if child.status in TERMINAL else Status.CANCELLED
    return Call(child.workspace_id, child.parent_id, child.tool_call_id, child.id, status)


def decides(calls: Mapping[Call, CallResult], at: int) -> tuple[Query | Batch, ...]:
    """Return the queries by which ends of children decide their parent's waits, for `decided`."""
    first = next(iter(calls))
    results = {call.tool_call_id: result for call, result in calls.items()}
    return children_ended(first.workspace_id, first.parent_id, results, at)


def answer(call: Call | None, result: CallResult, at: int, *, ran: bool = True) -> Part[Effects]:
    """Decide the parent's wait for a child that has ended, whose row is locked."""
    if call is None:
        return NOTHING
    answers = yield Together(decides({call: result}, at))
    return (yield from decided((call,), answers, at, ran=ran))


def decided(
    calls: Sequence[Call], answers: Sequence[Row], at: int, *, ran: bool = True
) -> Part[Effects]:
    """Tell the parent of its children's ends, once its waits were decided.

    `answers`: of the queries. The last open wait wakes the parent; a parent that has ended keeps
    the results, and one that was deleted or rolled back needs none. Children that wait for their
    siblings may begin, unless those that have ended were waiting too (`ran`).
    """
    parent, call = decided_parent(answers), calls[0]
    if parent is None or parent.status in TERMINAL:
        return NOTHING
    at_ = max(at, parent.updated_at)
    moved: tuple[Execution, Execution] | None = None
    if not parent.goes_on:
        try:
            moved = yield from _woken(call, parent, at_)
        except ExecutionUnreadable:
            logger.exception("execution.unreadable", execution=call.parent_id)
            return (yield from fail_unread_child(call.workspace_id, call.parent_id, at))
    entries: list[Entry] = []
    for one in calls:
        if (step := parent.steps.get(one.tool_call_id)) is not None:
            event = ChildFinished(step, one.tool_call_id, one.child_id, one.status.value)
            entries.append(Entry(parent.segment, parent.last_seq + len(entries) + 1, at_, event))
            yield insert_event(call.parent_id, entries[-1])
    if moved is None:
        effects = Effects((Committed(call.parent_id, tuple(entries)),))
    else:
        before, after = moved
        effects = Effects(
            (Committed(after.id, tuple(entries), after), *(yield from tell_above(before, after))),
            (after,) if after.status is Status.QUEUED else (),
        )
    if parent.children > LIVE_CHILDREN and ran:
        for _ in entries:
            effects += yield from _next_begins(call.workspace_id, call.parent_id, at)
    return effects


def _woken(call: Call, parent: DecidedParent, at: int) -> Part[tuple[Execution, Execution]]:
    """Return a suspended parent before and after it awaits what it awaits now.

    Raises ExecutionUnreadable.
    """
    (row,) = yield Query(EXECUTION, {"id": call.parent_id, "workspace": call.workspace_id})
    before = execution_of(row)
    after = yield from awaiting_now(replace(before, updated_at=at), parent.awaited)
    return before, after


def _next_begins(workspace_id: str, parent_id: str, at: int) -> Part[Effects]:
    """Let the oldest child begin that waits for its siblings; one that cannot be read fails."""
    effects = NOTHING
    of = {"workspace": workspace_id, "id": parent_id}
    while rows := (yield Query(NEXT_CHILD, of)):
        try:
            following = execution_of(rows[0])
        except ExecutionUnreadable:
            unread = rows[0][PLACES["id"]]
            logger.exception("execution.unreadable", execution=unread)
            effects += yield from fail_unread_child(workspace_id, unread, at)
            continue
        yield Query(RELEASE_WAITING, of | {"id": following.id})
        return effects + Effects(runnable=(replace(following, waiting=False),))
    return effects


def fail_unread(failure: ForcedFailure, below: Sequence[Live], place: Row) -> Part[Effects]:
    """Fail a live execution without reading its row, with what it has called.

    `below`: its live descendants, locked; `place`: its row of LOCK_PLACE.
    """
    committed = yield from failed_unread(failure)
    above = failure.execution_id
    effects = Effects((committed,)) + (yield from cancel_locked(below, failure.at, above=above))
    _, _, conversation_id, _, parent_id, call_id = place
    workspace_id = failure.workspace_id
    if parent_id is not None and call_id is not None:
        call = Call(workspace_id, parent_id, call_id, failure.execution_id, Status.FAILED)
        effects += yield from answer(call, failed_with(failure.error), failure.at)
        if committed.execution is not None:
            events = yield from withdrawn((committed.execution, *effects.ended))
            passed = yield from tell_root(committed.execution, events, failure.at)
            effects += Effects(tuple(passed))
    following = yield from next_turn(workspace_id, conversation_id, failure.at)
    return effects + Effects(following.committed, following.runnable)


def fail_unread_child(workspace_id: str, execution_id: str, at: int) -> Part[Effects]:
    """Fail a locked execution that cannot be read, so that none waits for it for ever.

    Its conversation and its descendants are locked behind it: a deadlock is a lost race, and tried
    again.
    """
    of = {"id": execution_id, "workspace": workspace_id}
    (place,) = yield Query(LOCK_PLACE, of)
    if place[0] in TERMINAL:
        return NOTHING
    yield Query(LOCK_TURNS, {"workspace": workspace_id, "conversation": place[2]})
    below = yield from lock_live_below(workspace_id, execution_id)
    failure = ForcedFailure(workspace_id, execution_id, at, UNREADABLE)
    return (yield from fail_unread(failure, below, place))


def cancel_locked(live: Sequence[Live], at: int, *, above: str | None = None) -> Part[Effects]:
    """Cancel locked executions, given the deepest first; those that run are requested to end.

    All end before any is answered, so that no child's end wakes a parent that is to end too: that
    keeps the result. `above`: an execution above them that has ended. The statements of all are
    sent together. What cannot be read, and does not run, fails.
    """
    running = [one for one in reversed(live) if one.status is Status.RUNNING]
    others = [one for one in reversed(live) if one.status is not Status.RUNNING]
    resting = read_of(others)
    requests = [
        Query(REQUEST_CANCEL, {"id": one.id, "workspace": one.workspace_id}) for one in running
    ]
    ended = [at_rest(one, Status.CANCELLED, at) for one in resting]
    moves = [
        compare_and_set(before, after, keep_pause=False)
        for before, after in zip(resting, ended, strict=True)
    ]
    sent = (*requests, *moves)
    rows = (yield Together(sent))[len(requests) :] if sent else []
    if not all(rows):
        raise StaleWrite
    committed = yield from _cancellations(ended, [row[0][1] for row in rows])
    effects = Effects(committed, (), tuple(one.id for one in running), ended=tuple(ended))
    over = {above, *(one.id for one in ended)}
    calls = [(one, call) for one in ended if (call := call_of(one)) is not None]
    kept = [decides({call: result_of(one)}, at)[1] for one, call in calls if call.parent_id in over]
    if kept:
        yield Together(tuple(kept))
    for one, call in calls:
        if call.parent_id not in over:
            effects += yield from answer(call, result_of(one), at)
    for before, after, ((_, _, applying),) in zip(resting, ended, rows, strict=True):
        yield from release(before, applying, after.updated_at)
    for unread in others:
        if isinstance(unread, UnreadChild):
            effects += yield from fail_unread_child(unread.workspace_id, unread.id, at)
    return effects


def _cancellations(ended: Sequence[Execution], last: Sequence[int]) -> Part[tuple[Committed, ...]]:
    """Log the ends of cancelled executions, given the numbers of their logs' last events."""
    committed: list[Committed] = []
    spent: dict[str, Spent] = {}
    if parents := [one for one in ended if one.children]:
        ids = [one.id for one in parents]
        spent = yield from spent_below_each(parents[0].workspace_id, ids)
    for execution, seq in zip(ended, last, strict=True):
        below = spent[execution.id].fields if execution.id in spent else None
        event = ExecutionCancelled(below=below)
        entry = Entry(execution.segment, seq + 1, execution.updated_at, event)
        yield insert_event(execution.id, entry)
        committed.append(Committed(execution.id, (entry,), execution))
    return tuple(committed)


def cancelled(
    execution: Execution, at: int, *, releases: bool = True
) -> Part[tuple[Execution, tuple[Entry, ...]]]:
    """Cancel an execution whose row is locked and that no worker has.

    `releases`: also what it has reserved of budgets, which the caller does otherwise.
    """
    after = at_rest(execution, Status.CANCELLED, at)
    rows = yield compare_and_set(execution, after, keep_pause=False)
    if not rows:
        raise StaleWrite
    if releases:
        yield from release(execution, rows[0][2], after.updated_at)
    event = yield from with_spent(after, ExecutionCancelled())
    return after, (yield from append(after, after.updated_at, (event,)))


def supersede_children(
    execution: Execution, calls: Sequence[str], live: Sequence[Live], at: int
) -> Part[Effects]:
    """Mark the children of superseded calls, and cancel them.

    `live`: the locked live descendants of the execution.
    """
    if not execution.children:
        return NOTHING
    void: set[str] = set()
    for call in calls:
        of = {"given_id": execution.id, "tool_call": call}
        void.update(row[0] for row in (yield Query(SUPERSEDE_CHILD, of)))
    ends: list[Live] = []
    for one in reversed(live):  # parents first
        if one.id in void or one.parent_id in void:
            void.add(one.id)
            ends.insert(0, one)
    return (yield from cancel_locked(ends, at))
