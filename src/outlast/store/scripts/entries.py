"""Pieces of transactions that more than one script needs: lock, read and append to the log."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from outlast.model.error import ExecutionNotFound
from outlast.model.event import Entry, Event, TextAdded, ThinkingAdded, encode
from outlast.model.execution import Execution
from outlast.store.driver import Part, Query
from outlast.store.scripts.rows import execution_from, mutable_columns
from outlast.store.statements import checkpoints as sql
from outlast.store.statements import executions as execution_sql
from outlast.store.statements import log as log_sql

_RUN_PIECES: Final = 1000
_RUN_CHARACTERS: Final = 16 * 1024


def parted(event: TextAdded | ThinkingAdded) -> Iterator[TextAdded | ThinkingAdded]:
    """The same pieces in runs that are small enough to be read one by one."""
    pieces, kind = event.pieces, type(event)
    start = size = 0
    for end, piece in enumerate(pieces):
        if end > start and (end - start >= _RUN_PIECES or size + len(piece) > _RUN_CHARACTERS):
            yield kind(event.step, event.part, pieces[start:end])
            start, size = end, 0
        size += len(piece)
    yield kind(event.step, event.part, pieces[start:]) if start else event


def insert_event(execution_id: str, entry: Entry) -> Query:
    """One row of the log."""
    return Query(
        log_sql.INSERT_EVENT,
        {
            "execution_id": execution_id,
            "seq": entry.seq,
            "segment": entry.segment,
            "kind": entry.event.kind,
            "data": encode(entry.event).decode(),
            "at": entry.at,
        },
    )


def append(execution: Execution, at: int, events: Iterable[Event]) -> Part[tuple[Entry, ...]]:
    """Log what happened to an execution whose row this transaction has locked."""
    return (yield from append_entries(execution, ((at, event) for event in events)))


def append_entries(
    execution: Execution, events: Iterable[tuple[int, Event]]
) -> Part[tuple[Entry, ...]]:
    """Like `append`, each event with its own time."""
    entries: list[Entry] = []
    seq = 0
    for at, event in events:
        pieces = len(event.pieces) if isinstance(event, TextAdded | ThinkingAdded) else 1
        if entries:
            seq += pieces
            yield insert_event(execution.id, Entry(execution.segment, seq, at, event))
        else:
            ((seq,),) = yield _append_event(execution, at, event, pieces)
        entries.append(Entry(execution.segment, seq, at, event))
    return tuple(entries)


def _append_event(execution: Execution, at: int, event: Event, pieces: int) -> Query:
    return Query(
        log_sql.APPEND_EVENT,
        {
            "id": execution.id,
            "pieces": pieces,
            "segment": execution.segment,
            "kind": event.kind,
            "data": encode(event).decode(),
            "at": at,
        },
    )


def compare_and_set(before: Execution, after: Execution, *, keep_pause: bool) -> Query:
    """Compare and set one row; answers whether a cancel was asked for, or nothing."""
    parameters: dict[str, Any] = {
        "id": before.id,
        "workspace": before.workspace_id,
        "from_status": before.status.value,
        "from_segment": before.segment,
        "from_waiting": before.waiting,
        "keep_pause": keep_pause,
    }
    return Query(execution_sql.ADVANCE_EXECUTION, parameters | mutable_columns(after, "new_"))


def locked(workspace_id: str, execution_id: str) -> Part[Execution]:
    """The execution's row, which does not move until the end of the transaction."""
    rows = yield Query(sql.LOCK_EXECUTION, {"id": execution_id, "workspace": workspace_id})
    if not rows:
        raise ExecutionNotFound
    return execution_from(rows[0])


def locked_turn(workspace_id: str, execution_id: str) -> Part[Execution]:
    """Like `locked`; its conversation's turns do not move either."""
    rows = yield Query(execution_sql.EXECUTION, {"id": execution_id, "workspace": workspace_id})
    if not rows:
        raise ExecutionNotFound
    conversation = execution_from(rows[0]).conversation_id
    yield Query(sql.LOCK_TURNS, {"workspace": workspace_id, "conversation": conversation})
    return (yield from locked(workspace_id, execution_id))
