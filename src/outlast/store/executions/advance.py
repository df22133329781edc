"""Transactions that move an execution: advance, append text, cancel, fail."""

from collections.abc import Sequence
from typing import Any, Final

from outlast.model.error import Conflict, StaleWrite
from outlast.model.event import Entry, ExecutionCancelled, encode
from outlast.model.execution import TERMINAL, TRANSITIONS, Execution, Status, at_rest
from outlast.store.charges import INSERT_CHARGE, charge_columns
from outlast.store.checkpoints import save, with_state
from outlast.store.conversations.rows import LOCK_TURNS
from outlast.store.driver import Part, Query, Transaction, TransactionResult
from outlast.store.executions.locks import compare_and_set, set_state
from outlast.store.executions.log import (
    APPEND_TEXT,
    DELETE_LAST_TEXT,
    append,
    append_entries,
    parted,
)
from outlast.store.executions.statements import (
    LOCK_PLACE,
    PLACE,
    RECORD_ACTIVE_TIME,
    REQUEST_CANCEL,
)
from outlast.store.executions.steps import INSERT_STEP, step_columns
from outlast.store.executions.turns import failed_unread, lock_turns, next_turn
from outlast.store.executions.values import ActiveTime, Advance, ForcedFailure, TextAppend
from outlast.store.listeners import Committed
from outlast.store.tasks.rows import moved
from outlast.store.waits.store import asked, unless_decided

_OTHER_TEXT = "The log does not hold the text that this step has shown."


def advance(move: Advance) -> Transaction[tuple[Entry, ...]]:
    """Compare and set, then everything that belongs to the move."""
    before, after = move.before, move.after
    if after.status not in TRANSITIONS[before.status]:
        raise Conflict(f"An execution cannot go from {before.status} to {after.status}.")
    ends, rests = yield from lock_turns(before, after)
    rows = yield compare_and_set(
        before, after, keep_pause=after.status not in (*TERMINAL, Status.PAUSED)
    )
    if not rows:
        raise StaleWrite
    entries = yield from _log_entries(move)
    for step in move.steps:
        yield Query(INSERT_STEP, step_columns(before.id, step))
    for charge in move.charges:
        yield Query(INSERT_CHARGE, charge_columns(after, charge))
    if move.state is not None:
        yield from set_state(before.id, move.state)
    checkpoint = move.checkpoint
    if checkpoint is not None and after.is_client_driven:
        checkpoint = yield from with_state(checkpoint)
    if checkpoint is not None:
        yield from save(checkpoint)
    if after.is_client_driven or after.status is Status.FAILED:
        yield from moved(after, checkpoint)
    yield from asked(move)
    after = yield from unless_decided(after)
    if rests and rows[0][0]:
        after, entries, ends = yield from _cancelled(after, entries)
    runnable: list[Execution] = []
    if after.status is Status.QUEUED and not after.waiting:
        runnable.append(after)
    committed = [Committed(before.id, entries, after)]
    if ends:
        at = after.updated_at
        following = yield from next_turn(after.workspace_id, after.conversation_id, at)
        runnable.extend(following.runnable)
        committed.extend(following.committed)
    return TransactionResult(entries, tuple(committed), tuple(runnable))


def _cancelled(
    rested: Execution, entries: tuple[Entry, ...]
) -> Part[tuple[Execution, tuple[Entry, ...], bool]]:
    """A cancel that was asked for while the segment ended; whether the execution ends by it."""
    if rested.status is Status.QUEUED:
        return rested, entries, False  # its next segment hears of it
    after = at_rest(rested, Status.CANCELLED, rested.updated_at)
    yield compare_and_set(rested, after, keep_pause=False)
    told = yield from append(after, after.updated_at, (ExecutionCancelled(),))
    return after, (*entries, *told), True


def _log_entries(move: Advance) -> Part[tuple[Entry, ...]]:
    pieces, end = move.appended_pieces, 0
    if pieces:
        rows = yield Query(DELETE_LAST_TEXT, {"id": move.before.id, "pieces": pieces})
        if not rows:
            raise StaleWrite(_OTHER_TEXT)
        end = max(seq for (seq,) in rows) - pieces
    texts = ((at, run) for at, text in move.texts for run in parted(text))
    entries = yield from append_entries(move.before.id, move.after.segment, (*texts, *move.events))
    if pieces and entries and entries[0].first_seq != end + 1:
        raise StaleWrite(_OTHER_TEXT)
    return entries


def append_text(appends: Sequence[TextAppend]) -> Transaction[list[bool]]:
    """Insert pieces behind the log's end, each execution's only while its segment runs.

    Rows are locked in the order of their ids, as `seen` does: neither waits for the other in turn.
    """
    committed: list[Committed] = []
    kept: dict[str, bool] = {}
    for wanted in sorted(appends, key=lambda wanted: wanted.execution.id):
        execution = wanted.execution
        entries: list[Entry] = []
        for at, text in wanted.texts:
            rows = yield Query(
                APPEND_TEXT,
                {
                    "id": execution.id,
                    "workspace": execution.workspace_id,
                    "segment": execution.segment,
                    "kind": text.kind,
                    "pieces": len(text.pieces),
                    "data": encode(text).decode(),
                    "at": at,
                },
            )
            entries.extend(Entry(execution.segment, row[0], at, text) for row in rows)
        kept[execution.id] = len(entries) == len(wanted.texts)
        committed.append(Committed(execution.id, tuple(entries)))
    return TransactionResult([kept[wanted.execution.id] for wanted in appends], tuple(committed))


def request_cancel(workspace_id: str, execution_id: str) -> Transaction[None]:
    """Set the flag on a live execution."""
    yield Query(REQUEST_CANCEL, {"id": execution_id, "workspace": workspace_id})
    return TransactionResult(None, requested=(execution_id,))


def record_active_time(active_times: Sequence[ActiveTime]) -> Transaction[None]:
    """Count the time of segments that run, in the order of their ids."""
    for active_time in sorted(active_times, key=lambda active_time: active_time.execution.id):
        execution = active_time.execution
        yield Query(
            RECORD_ACTIVE_TIME,
            {
                "given_id": execution.id,
                "workspace": execution.workspace_id,
                "given_segment": execution.segment,
                "given_ms": active_time.active_ms,
                "at": active_time.at,
            },
        )
    return TransactionResult(None)


_RUNNABLE: Final = (Status.QUEUED.value, Status.RUNNING.value)

_LIVE: Final = (*_RUNNABLE, Status.SUSPENDED.value, Status.PAUSED.value)


def force_failure(failure: ForcedFailure) -> Transaction[bool]:
    """Lock the turns and the row; fail it if it still runs, or waits for what it may wait for."""
    of: dict[str, Any] = {"id": failure.execution_id, "workspace": failure.workspace_id}
    rows = yield Query(PLACE, of)
    if not rows:
        return TransactionResult(False)
    conversation_id = rows[0][2]
    turns = {"workspace": failure.workspace_id, "conversation": conversation_id}
    yield Query(LOCK_TURNS, turns)
    ((status, segment, *_),) = yield Query(LOCK_PLACE, of)
    live = _LIVE if failure.resting else _RUNNABLE
    if status not in live or failure.segment not in (None, segment):
        return TransactionResult(False)
    committed = yield from failed_unread(failure)
    following = yield from next_turn(failure.workspace_id, conversation_id, failure.at)
    return TransactionResult(True, (committed, *following.committed), following.runnable)
