"""Statements on executions."""

from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Boolean,
    Column,
    Text,
    bindparam,
    case,
    cast,
    func,
    insert,
    literal_column,
    null,
    select,
    text,
    true,
    update,
)
from sqlalchemy.sql.expression import ColumnElement

from outlast.model.execution import CLIENT_DRIVEN
from outlast.store.driver import Statement
from outlast.store.schema import execution_metadata, executions

MUTABLE: Final = (
    "status", "segment", "waiting", "updated_at", "started_at", "completed_at", "output", "error",
    "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "usage_estimated",
    "steps", "final_model", "first_token_ms", "tool_ms", "active_ms", "superseded_tokens",
    "forwarded_headers", "active_since", "credits", "tries",
)  # fmt: skip
"""The columns that `advance` writes."""

_execution: Final = select(*executions.c)

INSERT_EXECUTION: Final = Statement(insert(executions))

INSERT_METADATA: Final = Statement(insert(execution_metadata))
"""One value by which lists filter."""

ADVANCE_EXECUTION: Final = Statement(
    update(executions)
    .where(
        executions.c.id == bindparam("id"),
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.status == bindparam("from_status"),
        executions.c.segment == bindparam("from_segment"),
        executions.c.waiting == bindparam("from_waiting"),
    )
    .values(
        {name: bindparam(f"new_{name}") for name in MUTABLE}
        | {
            "pause_requested": case(
                (
                    bindparam("keep_pause", type_=Boolean()).is_(true()),
                    executions.c.pause_requested,
                ),
                else_=null(),
            )
        }
    )
    .returning(executions.c.cancel_requested)
)
"""Compare-and-set on status, segment and waiting: no row means that the execution has moved on.

A wish to pause that came meanwhile stays, unless the execution is paused or has ended.
"""

REQUEST_CANCEL: Final = Statement(
    update(executions)
    .where(
        executions.c.id == bindparam("id"),
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.completed_at.is_(None),
    )
    .values(cancel_requested=True)
)
"""Touches nothing else, so that it cannot disturb the segment that runs."""

CANCEL_REQUESTED: Final = Statement(
    select(executions.c.id).where(text("cancel_requested AND completed_at IS NULL"))
)
"""All workspaces: whoever runs one of them stops it."""

EXECUTION: Final = Statement(
    _execution.where(
        executions.c.id == bindparam("id"), executions.c.workspace_id == bindparam("workspace")
    )
)

LIVE_IN_CONVERSATION: Final = Statement(
    _execution.where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.completed_at.is_(None),
    ).order_by(executions.c.turn)
)
"""Everything of the conversation that has not ended, by turn; it has a partial index.

Turns are given out under the conversation's lock; ids come from the clocks of many hosts.
"""

_some_live: Final = (
    select(literal_column("1"))
    .where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.completed_at.is_(None),
    )
    .limit(bindparam("most"))
    .subquery("page")
)

COUNT_LIVE: Final = Statement(select(func.count()).select_from(_some_live))
"""How many of the conversation have not ended, counted on the partial index and up to a bound."""

WAITING_TURNS: Final = Statement(
    _execution.where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.completed_at.is_(None),
        executions.c.waiting.is_(True),
    )
    .order_by(executions.c.turn.desc())
    .limit(bindparam("limit"))
)
"""Queued turns, the youngest first; the conversation's row is locked."""

NEXT_IN_CONVERSATION: Final = Statement(
    _execution.where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.completed_at.is_(None),
    )
    .order_by(executions.c.turn)
    .limit(1)
)
"""Whose turn it is once an execution has ended."""

RELEASE_WAITING: Final = Statement(
    update(executions)
    .where(
        executions.c.id == bindparam("id"),
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.waiting.is_(True),
    )
    .values(waiting=False)
)

UNFINISHED: Final = Statement(
    select(executions.c.workspace_id, executions.c.id, executions.c.status, executions.c.updated_at)
    .where(
        executions.c.id > bindparam("after"),
        executions.c.status.in_([literal_column("'queued'"), literal_column("'running'")]),
        executions.c.waiting.is_(False),
        executions.c.completed_at.is_(None),
        executions.c.agent_version != literal_column(str(CLIENT_DRIVEN)),
    )
    .order_by(executions.c.id)
    .limit(bindparam("limit"))
)
"""All workspaces: only recovery asks this. What is client-driven is no worker's."""

_place: Final = select(
    executions.c.status,
    executions.c.segment,
    executions.c.conversation_id,
    executions.c.updated_at,
).where(executions.c.id == bindparam("id"), executions.c.workspace_id == bindparam("workspace"))

PLACE: Final = Statement(_place)
"""What is needed to end an execution whose row cannot be read."""

LOCK_PLACE: Final = Statement(_place.with_for_update())
"""The same; the row does not move until this transaction ends."""

FORCE_FAILURE: Final = Statement(
    update(executions)
    .where(
        executions.c.id == bindparam("given_id"),
        executions.c.workspace_id == bindparam("workspace"),
    )
    .values(
        status=bindparam("failed"),
        error=bindparam("new_error"),
        completed_at=bindparam("at"),
        updated_at=bindparam("at"),
        waiting=False,
        tries=0,
        pause_requested=null(),
        active_since=null(),
        forwarded_headers=null(),
    )
)
"""The row is locked and live. Touches nothing that may be unreadable."""

SEEN: Final = Statement(
    update(executions)
    .where(
        executions.c.id == bindparam("given_id"),
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.status == literal_column("'running'"),
        executions.c.segment == bindparam("given_segment"),
        executions.c.active_ms < bindparam("given_ms"),
    )
    .values(active_ms=bindparam("given_ms"), active_since=bindparam("at"))
)
"""Only while the segment runs, and never backwards: `advance` may have counted further."""


_FEW: Final = frozenset({"conversation_id", "parent_id", "chat_id", "user"})
"""Filters that leave few executions."""


def _cut(column: Column[Any]) -> ColumnElement[Any]:
    """The column as a list shows it: the rest of a long value is not read."""
    match column.name:
        case "input" | "output":
            return func.substr(column, 1, bindparam("longest"))
        case "metadata":
            content = cast(column, Text)
            short = func.length(content) < bindparam("longest")
            return case((short, content), else_=literal_column("'null'"))
        case "session":
            return literal_column("'{}'")
        case "state" | "instructions" | "forwarded_headers":
            return null()
        case _:
            return column


LISTED: Final = select(*(_cut(column).label(column.name) for column in executions.c))
"""Rows as lists show them; `longest` is how many characters of a text are read."""


@cache
def list_executions(
    filters: frozenset[str], *, backwards: bool, values: int = 0, cut: bool = False
) -> Statement:
    """One page by keyset, for the filters of these names; the index of the workspace orders it.

    With `values` of metadata to filter by, the rows of the first of them are walked down, unless
    another filter leaves few executions.
    """
    found = [execution_metadata.alias(f"value{n}") for n in range(values)]
    by_metadata = bool(found) and not filters & _FEW
    id_ = found[0].c.execution_id if by_metadata else executions.c.id
    conditions: dict[str, ColumnElement[bool]] = {
        "agent_id": executions.c.agent_id == bindparam("agent_id"),
        "status": executions.c.status == bindparam("status"),
        "status_other": executions.c.status.in_([bindparam("status"), bindparam("status_other")]),
        "status_three": executions.c.status.in_(
            [bindparam("status"), bindparam("status_other"), bindparam("status_three")]
        ),
        "conversation_id": executions.c.conversation_id == bindparam("conversation_id"),
        "parent_id": executions.c.parent_id == bindparam("parent_id"),
        "chat_id": executions.c.chat_id == bindparam("chat_id"),
        "user": executions.c.end_user == bindparam("user"),
        "created_from": executions.c.created_at >= bindparam("created_from"),
        "created_before": executions.c.created_at < bindparam("created_before"),
        "started_after": executions.c.started_at > bindparam("started_after"),
        "started_before": executions.c.started_at < bindparam("started_before"),
        "after": id_ < bindparam("after"),
        "before": id_ > bindparam("before"),
    }
    rows = LISTED if cut else _execution
    if by_metadata:  # an expression, so that no planner begins with the executions
        rows = rows.where(executions.c.id == id_ + literal_column("''"))
    for n, value in enumerate(found):
        rows = rows.where(
            value.c.workspace_id == bindparam("workspace"),
            value.c.name == bindparam(f"name{n}"),
            value.c.value == bindparam(f"value{n}"),
        )
        if n or not by_metadata:
            rows = rows.where(value.c.execution_id == id_)
    return Statement(
        rows.where(
            executions.c.workspace_id == bindparam("workspace"),
            *(conditions[name] for name in sorted(filters)),
        )
        .order_by(id_.asc() if backwards else id_.desc())
        .limit(bindparam("limit"))
    )
