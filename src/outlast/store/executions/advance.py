"""Transactions that change an execution: advance, append text, cancel, fail."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

from outlast.model.error import Conflict, StaleWrite
from outlast.model.event import TERMINAL_EVENTS, Entry, Event, TextAdded, ThinkingAdded
from outlast.model.event_codec import encode
from outlast.model.execution import (
    TERMINAL,
    TRANSITIONS,
    Execution,
    ModelStep,
    PauseRequest,
    Status,
)
from outlast.store.blobs import keep_images
from outlast.store.budgets.shares import NONE_FULL, Applying, Full
from outlast.store.charges import INSERT_CHARGE, charge_columns
from outlast.store.checkpoints import save, with_state
from outlast.store.conversations.rows import LOCK_TURNS
from outlast.store.driver import (
    Batch,
    Guarded,
    Part,
    Query,
    Row,
    Together,
    Transaction,
    TransactionResult,
)
from outlast.store.executions.below import Live, lock_live_below
from outlast.store.executions.browsers import record_browser
from outlast.store.executions.children import (
    NOTHING,
    Effects,
    answer,
    call_of,
    cancel_locked,
    cancelled,
    decided,
    decides,
    fail_unread,
    insert_children,
    result_of,
)
from outlast.store.executions.joined import ADVANCE_AND_APPEND
from outlast.store.executions.locks import (
    advance_statement,
    compare_and_set,
    compared,
    set_state,
)
from outlast.store.executions.log import (
    DELETE_LAST_TEXT,
    append_behind,
    insert_event,
    parted,
)
from outlast.store.executions.pauses import (
    PendingPause,
    paused_at_rest,
    pending_pause,
    stop_below,
)
from outlast.store.executions.spending import spend
from outlast.store.executions.spent_below import with_spent
from outlast.store.executions.statements import (
    LOCK_PLACE,
    PLACE,
)
from outlast.store.executions.steps import INSERT_STEP, step_columns
from outlast.store.executions.turns import ends, next_turn, rests, turns_locked
from outlast.store.executions.values import (
    Advance,
    Advanced,
    ForcedFailure,
    Resume,
)
from outlast.store.listeners import Committed
from outlast.store.memory.write import write
from outlast.store.resume import continued
from outlast.store.tasks.rows import moved as task_moved
from outlast.store.waits.above import tell_above, tell_root, unless_decided, withdrawn
from outlast.store.waits.decide import record_waits

_CUTTING: Final = (Status.FAILED, Status.CANCELLED)
"""Ends of an execution whose children may be live."""
_OTHER_TEXT = "The log does not hold the text that this step has shown."


def advance(move: Advance, full: Full = NONE_FULL) -> Transaction[Advanced]:
    """Compare and set the row, then write everything that belongs to the move.

    Raises StaleWrite, BudgetRefused, ShareFull.
    """
    before, after = move.before, move.after
    if after.status not in TRANSITIONS[before.status]:
        raise Conflict(f"An execution cannot go from {before.status} to {after.status}.")
    if only_begins(move):
        return (yield from _begin(move))
    live = (yield from _cut_off(before, after)) if before.children else ()
    rests_below = before.tool_call_id is not None and rests(before, after)
    pause = (yield from pending_pause(before)) if rests_below else None
    if before.children and ends(before, after):
        move = replace(move, events=(yield from _with_spent(move)))
    moved = yield from _moved(move)
    entries = yield from append_behind(moved.end, before.id, after.segment, entries_of(move))
    cuts = after.status in _CUTTING or moved.cancel_requested
    own = (yield from withdrawn((before,))) if cuts and before.root_id is not None else []
    yield from recorded(move)
    effects = (yield from insert_children(move)) if move.children else NOTHING
    after = yield from _as_decided(move)
    ended = ends(before, after)
    if moved.cancel_requested and rests(before, move.after):
        after, entries, ended = yield from _cancelled(after, entries)
        if ended and after.children:
            live = yield from lock_live_below(after.workspace_id, after.id)
    elif not ended and (live or pause is not None):
        after, paused = yield from _paused(move, after, live, pause)
        effects += paused
    runnable = [after] if after.status is Status.QUEUED and not after.waiting else []
    if live and ended:
        effects += yield from cancel_locked(live, after.updated_at, above=after.id)
    if ended:
        effects += yield from _end(before, after, moved)
        if after.root_id is not None and after.status in _CUTTING:
            withdrawals = [*own, *(yield from withdrawn(effects.ended))]
            passed = yield from tell_root(after, withdrawals, after.updated_at)
            effects += Effects(tuple(passed))
    elif after.tool_call_id is not None:
        effects += yield from _passed_up(move, after)
    for wanted in move.memory:
        yield from write(wanted)
    yield from spend(move, after.reserved, moved.applying, full=full)
    committed = (Committed(before.id, entries, after, move.all_steps), *effects.committed)
    return TransactionResult(
        Advanced(entries, Applying.read(moved.applying)),
        committed,
        (*runnable, *effects.runnable),
        cancelled=effects.cancelled,
        paused=effects.paused,
    )


def _cut_off(before: Execution, after: Execution) -> Part[tuple[Live, ...]]:
    """Lock and return the live descendants of an execution that takes them along.

    It fails, is cancelled or paused; or it is a child that comes to rest, and may have to pause.
    """
    cuts = after.status in _CUTTING and ends(before, after)
    pauses = after.status is Status.PAUSED
    if not (cuts or pauses or (before.tool_call_id is not None and rests(before, after))):
        return ()
    if (turns := turns_locked(before, after)) is not None:
        yield turns
    return (yield from lock_live_below(before.workspace_id, before.id))


def _paused(
    move: Advance,
    after: Execution,
    live: tuple[Live, ...],
    pending: PendingPause | None,
) -> Part[tuple[Execution, Effects]]:
    """Pause with the execution what it has called, whose rows are locked.

    `pending`: what is requested of a child that comes to rest. It pauses where it would wait, and
    continues where the request was withdrawn.
    """
    at, requested = after.updated_at, None if pending is None else pending.request
    if after.status is Status.PAUSED and pending is not None and requested is None:
        again = Resume(after.workspace_id, after.id, at)
        _, effects = yield from continued(after, (), again)
        return after, effects
    by = after.id if pending is None or pending.by is None else pending.by
    if after.status is Status.PAUSED:
        return after, (yield from stop_below(live, by, move.pause or PauseRequest(), at))
    if after.status is not Status.SUSPENDED or requested is None:
        return after, NOTHING
    after, effects = yield from paused_at_rest(after, requested, at)
    return after, effects + (yield from stop_below(live, by, requested, at))


def _as_decided(move: Advance) -> Part[Execution]:
    """Return the row after the move, resumed if its waits were decided since they were read.

    Those of a new answer are all in the move.
    """
    after = move.after
    if after.status is not Status.SUSPENDED or any(isinstance(s, ModelStep) for s in move.steps):
        return after
    return (yield from unless_decided(after))


def _with_spent(move: Advance) -> Part[tuple[tuple[int, Event], ...]]:
    """Return the events of an end, which say what those below have spent."""
    events: list[tuple[int, Event]] = []
    for at, event in move.events:
        if isinstance(event, TERMINAL_EVENTS):
            events.append((at, (yield from with_spent(move.before, event))))
        else:
            events.append((at, event))
    return tuple(events)


def recorded(move: Advance) -> Part[None]:
    """Write the steps, charges, state, checkpoint and waits of a move."""
    before, after = move.before, move.after
    for step in move.steps:
        yield Query(INSERT_STEP, step_columns(before.id, step))
    if move.images:
        yield from keep_images(after.workspace_id, after.id, move.images, after.updated_at)
    for charge in move.charges:
        yield Query(INSERT_CHARGE, charge_columns(after, charge))
    if move.state is not None:
        yield from set_state(before.id, move.state)
    for earlier in move.earlier:
        yield from save(earlier)
    checkpoint = move.checkpoint
    if checkpoint is not None and after.is_client_driven:
        checkpoint = yield from with_state(checkpoint)
    if checkpoint is not None:
        yield from save(checkpoint)
    if after.is_client_driven or after.status is Status.FAILED:
        yield from task_moved(after, checkpoint)
    yield from record_waits(move)
    if after.browser is not None:
        yield from record_browser(move)


def _passed_up(move: Advance, after: Execution) -> Part[Effects]:
    """Tell a child's parents whom it awaits, and its root of its approvals."""
    passed = yield from tell_above(move.before, after)
    passed += yield from tell_root(after, [event for _, event in move.events], after.updated_at)
    return Effects(tuple(passed))


def _end(before: Execution, execution: Execution, moved: "_Moved") -> Part[Effects]:
    """Let the next turn begin, or answer the parent's call."""
    at = execution.updated_at
    if (call := call_of(execution)) is not None:
        if moved.parent:
            return (yield from decided((call,), moved.parent, at, ran=not before.waiting))
        return (yield from answer(call, result_of(execution), at, ran=not before.waiting))
    if moved.turns == execution.turn:
        return NOTHING
    following = yield from next_turn(execution.workspace_id, execution.conversation_id, at)
    return Effects(following.committed, following.runnable)


def only_begins(move: Advance) -> bool:
    """Whether the move only sets the row to running, with one event."""
    more = move.texts or move.steps or move.charges or move.waits or move.begun or move.children
    return not (
        more
        or move.checkpoint is not None
        or move.state is not None
        or move.after.status is not Status.RUNNING
        or move.after.is_client_driven
        or move.before.reserved is not None
        or move.after.browser is not move.before.browser
        or len(move.events) != 1
        or isinstance(move.events[0][1], TextAdded | ThinkingAdded)
    )


def _begin(move: Advance) -> Transaction[Advanced]:
    before, after, ((at, event),) = move.before, move.after, move.events
    parameters = compared(before, after, keep_pause=True)
    ended = {"segment": after.segment, "kind": event.kind, "data": encode(event).decode()}
    rows = yield Guarded(
        Query(advance_statement(before, after, keep_pause=True), parameters),
        lambda row: insert_event(before.id, Entry(after.segment, row[1] + 1, at, event)),
        Query(ADVANCE_AND_APPEND, parameters | ended | {"at": at, "pieces": 1}),
    )
    if not rows:
        raise StaleWrite
    entries = (Entry(after.segment, rows[0][1] + 1, at, event),)
    found = Advanced(entries, Applying.read(rows[0][2]))
    return TransactionResult(found, (Committed(before.id, entries, after),))


@dataclass(frozen=True, slots=True)
class _Moved:
    """Result of compare-and-set."""

    cancel_requested: bool
    end: int
    """Sequence number of the last event of the log to keep."""
    turns: int | None
    """Number of turns of the conversation, if the execution ends."""
    parent: tuple[Row, ...]
    """Answers of the queries on the parent, if a child ends."""
    applying: str | None
    """The budgets that it spends from."""


def _moved(move: Advance) -> Part[_Moved]:
    """Lock, compare and set, and delete text that the step's end rewrites. Raises StaleWrite."""
    before, after, pieces = move.before, move.after, move.appended_pieces
    locking = turns_locked(before, after)
    keep_pause = after.status not in (*TERMINAL, Status.PAUSED)
    queries: list[Query | Batch] = [compare_and_set(before, after, keep_pause=keep_pause)]
    if locking is not None:
        queries.insert(0, locking)
    if pieces:
        queries.append(Query(DELETE_LAST_TEXT, {"id": before.id, "pieces": pieces}))
    own = len(queries)
    if ends(before, after) and (call := call_of(after)) is not None:
        queries += decides({call: result_of(after)}, after.updated_at)
    answers: list[tuple[Any, ...]] = yield Together(tuple(queries))
    parent = tuple(answers[own:])
    turns = answers.pop(0) if locking is not None else ()
    if not answers[0]:
        raise StaleWrite
    ((cancel_requested, end, applying),) = answers[0]
    if pieces:
        text = [seq for _, seq in answers[1]]
        if not text or max(text) < end:
            raise StaleWrite(_OTHER_TEXT)
        end = max(text) - pieces
    newest = turns[0][0] if turns and ends(before, after) else None
    return _Moved(bool(cancel_requested), end, newest, parent, applying)


def _cancelled(
    rested: Execution, entries: tuple[Entry, ...]
) -> Part[tuple[Execution, tuple[Entry, ...], bool]]:
    """Apply a cancel requested while the segment ended; return whether it ends the execution."""
    if rested.status is Status.QUEUED:
        return rested, entries, False  # its next segment reads it
    after, ended = yield from cancelled(rested, rested.updated_at, releases=False)
    return after, (*entries, *ended), True


def entries_of(move: Advance) -> Iterator[tuple[int, Event]]:
    texts = ((at, run) for at, text in move.texts for run in parted(text))
    return chain(texts, move.events)


_RUNNABLE: Final = (Status.QUEUED.value, Status.RUNNING.value)

_LIVE: Final = (*_RUNNABLE, Status.SUSPENDED.value, Status.PAUSED.value)


def force_failure(failure: ForcedFailure) -> Transaction[bool]:
    """Lock the turns and the row; fail it if it still runs, or waits and `resting` is set."""
    of: dict[str, Any] = {"id": failure.execution_id, "workspace": failure.workspace_id}
    rows = yield Query(PLACE, of)
    if not rows:
        return TransactionResult(False)
    conversation_id = rows[0][2]
    turns = {"workspace": failure.workspace_id, "conversation": conversation_id}
    yield Query(LOCK_TURNS, turns)
    below = yield from lock_live_below(failure.workspace_id, failure.execution_id)
    (place,) = yield Query(LOCK_PLACE, of)
    status, segment, *_ = place
    live = _LIVE if failure.resting else _RUNNABLE
    if status not in live or failure.segment not in (None, segment):
        return TransactionResult(False)
    effects = yield from fail_unread(failure, below, place)
    return TransactionResult(True, effects.committed, effects.runnable, cancelled=effects.cancelled)
