"""Statements on what an execution records: steps and the event log."""

from typing import Final

from sqlalchemy import (
    Text,
    and_,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    literal_column,
    select,
    tuple_,
)

from outlast.model.event import TEXT_KINDS, DataEmitted, TextAdded
from outlast.store.agents import agents
from outlast.store.driver import Statement
from outlast.store.schema import charges, events, executions, steps
from outlast.store.statements import OWNED

STEP_COLUMNS: Final = (
    steps.c.execution_id,
    steps.c.number,
    steps.c.id,
    steps.c.kind,
    steps.c.data,
    steps.c.started_at,
    steps.c.ended_at,
)
"""What `step_from` reads."""

INSERT_STEP: Final = Statement(insert(steps))
INSERT_CHARGE: Final = Statement(insert(charges))

STEPS: Final = Statement(
    select(
        steps.c.execution_id,
        steps.c.number,
        steps.c.id,
        steps.c.kind,
        steps.c.data,
        steps.c.started_at,
        steps.c.ended_at,
    )
    .where(
        steps.c.execution_id
        == select(executions.c.id)
        .where(
            executions.c.id == bindparam("id"),
            executions.c.workspace_id == bindparam("workspace"),
            executions.c.is_purged.is_(False),
        )
        .scalar_subquery(),
        steps.c.superseded.is_(False),
    )
    .order_by(steps.c.number)
)
"""What stands and can still be read: of a purged execution nothing is."""

_data: Final = cast(steps.c.data, Text)

SHORT_STEPS: Final = Statement(
    select(
        steps.c.execution_id,
        steps.c.number,
        steps.c.id,
        steps.c.kind,
        case((func.length(_data) <= bindparam("longest"), _data)),
        steps.c.started_at,
        steps.c.ended_at,
    )
    .where(
        steps.c.execution_id == OWNED,
        steps.c.kind == literal_column("'tool'"),
        steps.c.superseded.is_(False),
    )
    .order_by(steps.c.number)
    .limit(bindparam("limit"))
)
"""Tool calls of what a list shows; of one that is long, no data."""

_log: Final = events.alias("log")

LAST_SEQ: Final = Statement(
    select(func.coalesce(func.max(events.c.seq), 0)).where(events.c.execution_id == bindparam("id"))
)

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
"""One event at the log's end; only where the execution's row is locked."""

APPEND_TEXT: Final = Statement(
    insert(events)
    .from_select(
        ["execution_id", "seq", "segment", "kind", "data", "at"],
        select(
            executions.c.id,
            select(func.coalesce(func.max(events.c.seq), 0) + bindparam("pieces"))
            .where(events.c.execution_id == bindparam("id"))
            .scalar_subquery(),
            executions.c.segment,
            bindparam("kind"),
            bindparam("data"),
            bindparam("at"),
        )
        .where(
            executions.c.id == bindparam("id"),
            executions.c.workspace_id == bindparam("workspace"),
            executions.c.status == literal_column("'running'"),
            executions.c.segment == bindparam("segment"),
        )
        .with_for_update(read=True),
    )
    .returning(events.c.seq)
)
"""Append to the segment that runs; no row means that it has passed. Writes no other row.

On Postgres the execution's row is locked against `advance`, so that no text lands behind the next
segment's begin.
"""

DELETE_LAST_TEXT: Final = Statement(
    delete(events)
    .where(
        events.c.execution_id == bindparam("id"),
        events.c.seq
        > select(func.coalesce(func.max(_log.c.seq), 0) - bindparam("pieces"))
        .where(_log.c.execution_id == bindparam("id"))
        .scalar_subquery(),
        events.c.kind.in_([literal_column(f"'{kind}'") for kind in TEXT_KINDS]),
    )
    .returning(events.c.seq)
)
"""The last pieces of the log; only inside `advance`, which writes them again as one row."""

ABOUT: Final = Statement(
    select(executions.c.input, executions.c.end_user, agents.c.name)
    .join(agents, agents.c.id == executions.c.agent_id, isouter=True)
    .where(executions.c.id == bindparam("id"), executions.c.workspace_id == bindparam("workspace"))
)
"""What an execution's first event says beside what the log keeps; the client has no agent's row."""

_ended_text: Final = (
    select(func.coalesce(func.max(events.c.seq), 0))
    .where(
        events.c.execution_id == OWNED,
        events.c.kind.not_in(
            [literal_column(f"'{kind}'") for kind in (*TEXT_KINDS, DataEmitted.kind)]
        ),
    )
    .scalar_subquery()
)

OPEN_TEXT: Final = Statement(
    select(events.c.segment, events.c.seq, events.c.at, events.c.kind, events.c.data)
    .where(
        events.c.execution_id == OWNED,
        events.c.kind == literal_column(f"'{TextAdded.kind}'"),
        events.c.seq > _ended_text,
    )
    .order_by(events.c.seq)
)
"""What the open step has shown: the text behind the last event that ends or voids a step's."""

_behind: Final = and_(
    events.c.execution_id == OWNED,
    tuple_(events.c.segment, events.c.seq) > tuple_(bindparam("segment"), bindparam("seq")),
)
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
_entries: Final = select(
    events.c.segment, events.c.seq, events.c.at, events.c.kind, events.c.data
).where(_behind)

LOG: Final = Statement(_entries.order_by(events.c.seq).limit(bindparam("limit")))

LOG_PAGE: Final = Statement(
    _entries.where(events.c.seq <= _last.scalar_subquery()).order_by(events.c.seq)
)
"""A page bounded in rows and in characters: of what does not fit only the lengths are read."""

REACHES: Final = Statement(select(literal_column("1")).where(_behind).limit(1))
