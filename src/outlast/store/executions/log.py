"""The event log of executions: statements, appending and reads."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from sqlalchemy import (
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    tuple_,
)
from sqlalchemy.sql.expression import ColumnElement

from outlast.model.event import (
    TEXT_KINDS,
    TEXTS,
    Cursor,
    Entry,
    Event,
    ExecutionCreated,
    TextAdded,
    ThinkingAdded,
)
from outlast.model.event_codec import decode, encode
from outlast.model.execution import Execution
from outlast.model.task import CLIENT_NAME
from outlast.store.agents import agents
from outlast.store.driver import (
    BatchStatement,
    Part,
    Query,
    Row,
    Statement,
    Transaction,
    TransactionResult,
    query_and_change,
)
from outlast.store.executions.joined import APPEND_TEXTS, DELETE_LAST_TEXTS
from outlast.store.executions.statements import OWNED
from outlast.store.executions.tables import events, executions
from outlast.store.executions.values import LogPage

_log: Final = events.alias("log")

INSERT_EVENT: Final = Statement(insert(events))

APPEND_EVENT: Final = Statement(
    insert(events)
    .from_select(
        ["execution_id", "seq", "segment", "kind", "data", "at"],
        select(
            bindparam("id", type_=events.c.execution_id.type),
            func.coalesce(func.max(events.c.seq), 0) + bindparam("pieces"),
            bindparam("segment", type_=events.c.segment.type),
            bindparam("kind", type_=events.c.kind.type),
            bindparam("data", type_=events.c.data.type),
            bindparam("at", type_=events.c.at.type),
        ).where(events.c.execution_id == bindparam("id")),
    )
    .returning(events.c.seq)
)
"""Appends one event; the execution's row is locked."""

_end_of_text: Final = (
    select(func.coalesce(func.max(events.c.seq), 0) + bindparam("pieces"))
    .where(events.c.execution_id == bindparam("id"))
    .scalar_subquery()
)
_running: Final = and_(
    executions.c.id == bindparam("id"),
    executions.c.workspace_id == bindparam("workspace"),
    executions.c.status == literal_column("'running'"),
    executions.c.segment == bindparam("segment"),
)
_append_text: Final = insert(events).from_select(
    ["execution_id", "seq", "segment", "kind", "data", "at"],
    select(
        executions.c.id,
        _end_of_text,
        executions.c.segment,
        bindparam("kind"),
        bindparam("data"),
        bindparam("at"),
    ).where(_running),
)

APPEND_TEXT: Final = BatchStatement(
    _append_text.returning(events.c.execution_id, events.c.segment, events.c.seq),
    arrays=APPEND_TEXTS,
    apart=(
        Statement(select(executions.c.id, executions.c.segment, _end_of_text).where(_running)),
        Statement(_append_text),
    ),
)
"""Appends text to running segments; no row means that a segment is over. Writes no other row.

On Postgres the executions' rows are locked against `advance`, the newest id first, so that no text
is appended after the next segment's begin.
"""

_TEXTS: Final[list[ColumnElement[str]]] = [literal_column(f"'{kind}'") for kind in TEXT_KINDS]
_piece: Final = events.alias("piece")
_other: Final = events.alias("other")

_kept: Final = (
    select(_log.c.seq)
    .where(
        _log.c.execution_id == bindparam("id"),
        _log.c.seq
        == select(func.max(_piece.c.seq) - bindparam("pieces"))
        .where(_piece.c.execution_id == bindparam("id"))
        .scalar_subquery(),
        ~exists(literal_column("1"))
        .where(
            _other.c.execution_id == bindparam("id"),
            _other.c.seq > _log.c.seq,
            _other.c.kind.not_in(_TEXTS),
        )
        .correlate(_log),
    )
    .scalar_subquery()
)
"""Selects the event before the last pieces; no row if the log does not end with all of them."""

_delete_last_text: Final = delete(events).where(
    events.c.execution_id == bindparam("id"),
    events.c.seq > _kept,
    events.c.kind.in_(_TEXTS),
)

DELETE_LAST_TEXT: Final = BatchStatement(
    _delete_last_text.returning(events.c.execution_id, events.c.seq),
    arrays=DELETE_LAST_TEXTS,
    apart=query_and_change(_delete_last_text, events.c.execution_id, events.c.seq),
)
"""Deletes the last pieces of the log; only inside `advance`, which rewrites them as one row."""

ABOUT: Final = Statement(
    select(executions.c.input, executions.c.end_user, agents.c.name)
    .join(agents, agents.c.id == executions.c.agent_id, isouter=True)
    .where(executions.c.id == bindparam("id"), executions.c.workspace_id == bindparam("workspace"))
)
"""Selects fields of the first event that the log does not store; client-driven ones have no
agent."""

_next_segment: Final = (
    select(_log.c.segment)
    .where(_log.c.execution_id == OWNED, _log.c.seq >= bindparam("seq"))
    .order_by(_log.c.seq)
    .limit(1)
    .scalar_subquery()
)

_behind: Final = and_(
    events.c.execution_id == OWNED,
    events.c.seq
    > case(
        (_next_segment <= bindparam("segment"), bindparam("seq")),
        else_=literal_column("0"),
    ),
    tuple_(events.c.segment, events.c.seq) > tuple_(bindparam("segment"), bindparam("seq")),
)
"""Entries behind a cursor, found by their numbers but where the log has lost that of the cursor."""

_sizes: Final = (
    select(events.c.seq, func.length(events.c.data).label("size"))
    .where(_behind)
    .order_by(events.c.seq)
    .limit(bindparam("limit"))
    .cte("sizes")
)

_sums: Final = select(
    _sizes.c.seq,
    (func.sum(_sizes.c.size).over(order_by=_sizes.c.seq) - _sizes.c.size).label("before"),
).cte("sums")

_last: Final = select(func.max(_sums.c.seq)).where(_sums.c.before < bindparam("size"))

_place: Final = (events.c.segment, events.c.seq, events.c.at, events.c.kind)

_select_entries: Final = select(*_place, events.c.data).where(_behind)

LOG: Final = Statement(_select_entries.order_by(events.c.seq).limit(bindparam("limit")))

LOG_PAGE: Final = Statement(
    select(*_place, case((func.length(events.c.data) <= bindparam("most"), events.c.data)))
    .where(_behind, events.c.seq <= _last.scalar_subquery())
    .order_by(events.c.seq)
)
"""Selects a page bounded in rows and characters: of excess rows only the lengths are read.

A single row that exceeds the page is the last one, with NULL in place of its data.
"""

REACHES: Final = Statement(select(literal_column("1")).where(_behind).limit(1))

LAST_EVENT: Final = Statement(
    select(events.c.kind, events.c.data)
    .where(events.c.execution_id == bindparam("id"))
    .order_by(events.c.seq.desc())
    .limit(1)
)


def entry_from(row: Row) -> Entry:
    """Return the entry of segment, seq, at, kind, data of an event."""
    return Entry(row[0], row[1], row[2], decode(row[3], row[4]))


_RUN_PIECES: Final = 1000

_RUN_CHARACTERS: Final = 16 * 1024


def parted(event: TextAdded | ThinkingAdded) -> Iterator[TextAdded | ThinkingAdded]:
    """Return the same pieces in runs that are small enough to be read one by one."""
    pieces, kind = event.pieces, type(event)
    if len(pieces) <= _RUN_PIECES and sum(map(len, pieces)) <= _RUN_CHARACTERS:
        yield event  # almost all
        return
    start = size = 0
    for end, piece in enumerate(pieces):
        if end > start and (end - start >= _RUN_PIECES or size + len(piece) > _RUN_CHARACTERS):
            yield kind(event.step, event.part, pieces[start:end])
            start, size = end, 0
        size += len(piece)
    yield kind(event.step, event.part, pieces[start:]) if start else event


def insert_event(execution_id: str, entry: Entry) -> Query:
    """Return the query that inserts one row of the log."""
    return Query(
        INSERT_EVENT,
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
    """Append events of an execution whose row this transaction has locked."""
    timed = ((at, event) for event in events)
    return (yield from append_entries(execution.id, execution.segment, timed))


def append_entries(
    execution_id: str, segment: int, events: Iterable[tuple[int, Event]]
) -> Part[tuple[Entry, ...]]:
    """Like `append`, each event with its own time."""
    entries: list[Entry] = []
    seq = 0
    for at, event in events:
        if entries:
            seq += _size(event)
            yield insert_event(execution_id, Entry(segment, seq, at, event))
        else:
            ((seq,),) = yield _append_event(execution_id, segment, at, event, _size(event))
        entries.append(Entry(segment, seq, at, event))
    return tuple(entries)


def append_behind(
    end: int, execution_id: str, segment: int, events: Iterable[tuple[int, Event]]
) -> Part[tuple[Entry, ...]]:
    """Like `append_entries`, if the number of the log's last event is known."""
    entries: list[Entry] = []
    for at, event in events:
        end += _size(event)
        entries.append(Entry(segment, end, at, event))
        yield insert_event(execution_id, entries[-1])
    return tuple(entries)


def _size(event: Event) -> int:
    """Return how many sequence numbers an event takes: one for each piece of text."""
    return len(event.pieces) if isinstance(event, TEXTS) else 1


def _append_event(execution_id: str, segment: int, at: int, event: Event, pieces: int) -> Query:
    return Query(
        APPEND_EVENT,
        {
            "id": execution_id,
            "pieces": pieces,
            "segment": segment,
            "kind": event.kind,
            "data": encode(event).decode(),
            "at": at,
        },
    )


_PAGE_ROWS: Final = 64

_PAGE_CHARACTERS: Final = 32 * 1024
"""Maximum characters of a page's rows, the last one excluded."""

_ROW_CHARACTERS: Final = 64 * 1024
"""Maximum characters of one row of a page; a larger one is read alone."""


def read_log(
    workspace_id: str, execution_id: str, after: Cursor, limit: int
) -> Transaction[tuple[Entry, ...]]:
    """Read entries that end after the cursor, in order."""
    rows = yield Query(
        LOG,
        {
            "id": execution_id,
            "workspace": workspace_id,
            "segment": after.segment,
            "seq": after.seq,
            "limit": limit,
        },
    )
    return TransactionResult((yield from _entries_from(workspace_id, execution_id, rows)))


def read_page(workspace_id: str, execution_id: str, after: Cursor) -> Transaction[LogPage]:
    """Read entries that end after the cursor, in order, as many as fit a page.

    None if the first is large.
    """
    rows = yield Query(
        LOG_PAGE,
        {
            "id": execution_id,
            "workspace": workspace_id,
            "segment": after.segment,
            "seq": after.seq,
            "limit": _PAGE_ROWS,
            "size": _PAGE_CHARACTERS,
            "most": _ROW_CHARACTERS,
        },
    )
    read = [row for row in rows if row[4] is not None]
    size, is_cut = sum(len(row[4]) for row in read), len(read) < len(rows)
    more = is_cut or len(rows) == _PAGE_ROWS or size >= _PAGE_CHARACTERS
    entries = yield from _entries_from(workspace_id, execution_id, read)
    return TransactionResult(LogPage(entries, more, size, is_cut))


def _entries_from(
    workspace_id: str, execution_id: str, rows: Sequence[Row]
) -> Part[tuple[Entry, ...]]:
    """Return the entries of these rows, the first with the fields from the execution's row."""
    entries = tuple(entry_from(row) for row in rows)
    if entries and isinstance(entries[0].event, ExecutionCreated):
        about = yield Query(ABOUT, {"id": execution_id, "workspace": workspace_id})
        entries = (_with_row(entries[0], entries[0].event, about[0]), *entries[1:])
    return entries


def reaches(workspace_id: str, execution_id: str, cursor: Cursor) -> Transaction[bool]:
    """Read whether the log continues after the cursor."""
    rows = yield Query(
        REACHES,
        {
            "id": execution_id,
            "workspace": workspace_id,
            "segment": cursor.segment,
            "seq": cursor.seq,
        },
    )
    return TransactionResult(bool(rows))


def _with_row(entry: Entry, created: ExecutionCreated, row: Row) -> Entry:
    given, user, agent = row
    name = CLIENT_NAME if agent is None else agent
    return replace(entry, event=replace(created, input=given, agent=name, user=user))
