"""Statements on executions."""

from functools import cache
from typing import Any, Final

from sqlalchemy import (
    Column,
    Text,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    null,
    select,
)
from sqlalchemy.sql.expression import ColumnElement

from outlast.store.driver import Statement
from outlast.store.executions.statements import SELECT_EXECUTION
from outlast.store.executions.tables import execution_metadata, executions

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
    rows = LISTED if cut else SELECT_EXECUTION
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
