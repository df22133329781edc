"""The table of waits, its statements and its rows."""

from functools import cache
from typing import Any, Final

import orjson
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Table,
    Text,
    TextClause,
    bindparam,
    case,
    literal_column,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.sql.expression import ColumnElement

from outlast.model.execution import UNREADABLE
from outlast.model.input_request import InputRequest
from outlast.model.wait import AWAITED, Awaiting, Wait, WaitKind
from outlast.store.driver import Row, Statement
from outlast.store.executions.below import ALL_BELOW_IDS
from outlast.store.executions.statements import OWNED
from outlast.store.executions.tables import executions
from outlast.store.tables import (
    JSON,
    Upsert,
    count,
    flag,
    identifier,
    json,
    metadata,
    time,
    to_json,
)
from outlast.store.unreadable import BROKEN, read_of

OPEN: Final = "decided_at IS NULL AND superseded IS false"
PERSON: Final = "kind IN ('approval', 'unknown_outcome')"
PARTY: Final = "kind IN ('approval', 'unknown_outcome', 'client', 'input')"

waits: Final = Table(
    "waits",
    metadata,
    identifier("execution_id", primary_key=True),
    identifier("tool_call_id", primary_key=True),
    identifier("workspace_id"),
    Column("kind", Text, nullable=False),
    Column("awaiting", Text, nullable=False),
    Column("name", Text, nullable=False),
    json("parameters"),
    count("step"),
    time("requested_at"),
    time("due_at", nullable=True),
    flag("due_approved"),
    time("decided_at", nullable=True),
    Column("approved", Boolean(create_constraint=False)),
    Column("reason", Text),
    Column("effective_parameters", JSON),
    Column("result", JSON),
    identifier("decided_by", nullable=True),
    time("begun_at", nullable=True),
    flag("superseded"),
    Column("request", JSON),
    CheckConstraint(
        f"(awaiting = 'person' AND {PERSON}) OR (awaiting = 'client' AND kind IN "
        "('client', 'input')) OR (awaiting = 'time' AND kind = 'timer') OR (kind = 'child' AND "
        "awaiting IN ('child', 'person', 'client'))",
        name="kind",
    ),
    CheckConstraint("(decided_at IS NULL) = (approved IS NULL)", name="decided"),
    CheckConstraint("kind <> 'timer' OR due_at IS NOT NULL", name="due"),
    Index(
        "ix_waits_open",
        "execution_id",
        "awaiting",
        "workspace_id",
        "decided_at",  # these two are always the same here; SQLite's planner wants all it reads
        "superseded",
        sqlite_where=text(OPEN),
    ),
    Index(
        "ix_waits_approvals",
        "workspace_id",
        "execution_id",
        "tool_call_id",
        sqlite_where=text(f"{OPEN} AND {PERSON}"),
    ),
    Index(
        "ix_waits_awaited",
        "workspace_id",
        "due_at",
        "execution_id",
        "tool_call_id",
        sqlite_where=text(f"{OPEN} AND {PARTY}"),
    ),
    Index(
        "ix_waits_due_at",
        "due_at",
        sqlite_where=text("decided_at IS NULL AND due_at IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)
"""`awaiting` is who or what must act: by the kind, or for a child what that waits for."""

_FALSE: Final[ColumnElement[bool]] = literal_column("false")

OPEN_WAITS: Final = (
    waits.c.workspace_id == bindparam("workspace"),
    waits.c.decided_at.is_(None),
    waits.c.superseded.is_(_FALSE),
)
SELECT_WAIT: Final = select(*(column for column in waits.c if column.name != "workspace_id"))

WAITS: Final = Statement(
    SELECT_WAIT.where(waits.c.execution_id == OWNED).order_by(
        waits.c.requested_at, waits.c.tool_call_id
    )
)

RECORD_WAIT: Final = Statement(Upsert(waits))
"""Inserts a wait, which replaces the call's earlier one; the log keeps requests and decisions."""

DECIDE_WAIT: Final = Statement(
    update(waits)
    .where(
        waits.c.execution_id == bindparam("id"),
        waits.c.tool_call_id == bindparam("tool_call"),
        waits.c.decided_at.is_(None),
    )
    .values(
        decided_at=bindparam("at"),
        approved=bindparam("new_approved"),
        reason=bindparam("new_reason"),
        effective_parameters=bindparam("new_parameters"),
        result=bindparam("new_result"),
        decided_by=bindparam("new_decided_by"),
    )
    .returning(waits.c.tool_call_id)
)
"""Decides a wait; the first decision wins: no row means that there is one. The execution's row is
locked."""

BEGIN_APPROVED: Final = Statement(
    update(waits)
    .where(
        waits.c.execution_id == bindparam("id"),
        waits.c.tool_call_id == bindparam("tool_call"),
    )
    .values(begun_at=bindparam("at"))
)
"""Marks an approved call as begun; only inside `advance`."""

WAIT: Final = Statement(
    SELECT_WAIT.where(
        waits.c.execution_id == OWNED,
        waits.c.tool_call_id == bindparam("tool_call"),
        waits.c.superseded.is_(_FALSE),
    )
)
"""Selects one by its key: a decision's cost is independent of the number of waits."""

OPEN_BELOW: Final = Statement(
    SELECT_WAIT.join(executions, executions.c.id == waits.c.execution_id)
    .where(
        waits.c.execution_id.in_(ALL_BELOW_IDS),
        *OPEN_WAITS,
        text(f"waits.{PARTY}"),
        executions.c.completed_at.is_(None),
        executions.c.superseded.is_(_FALSE),
    )
    .order_by(waits.c.requested_at, waits.c.tool_call_id)
)
"""Selects what all live descendants of an execution await of a person or the client."""


def _awaited(awaiting: Awaiting) -> ColumnElement[bool]:
    return (
        select(literal_column("1"))
        .where(
            waits.c.execution_id == bindparam("id"),
            waits.c.awaiting == literal_column(f"'{awaiting}'"),
            *OPEN_WAITS,
        )
        .exists()
    )


def who_is_awaited() -> ColumnElement[str]:
    """Return the column of `WHO_IS_AWAITED`."""
    return case(*((_awaited(one), literal_column(f"'{one}'")) for one in Awaiting))


WHO_IS_AWAITED: Final = Statement(select(who_is_awaited()))
"""Selects who or what must act first, by the index of open ones; null if none is open.

The cost is independent of their number. The execution's row is locked.
"""

SOME_DECIDED: Final = Statement(
    select(waits.c.tool_call_id)
    .where(
        waits.c.execution_id == bindparam("id"),
        waits.c.decided_at.is_not(None),
        waits.c.superseded.is_(_FALSE),
    )
    .limit(literal_column("1"))
)
"""Selects whether one is decided; used only if none is open."""

SUPERSEDE_WAIT: Final = Statement(
    update(waits)
    .where(
        waits.c.execution_id == bindparam("id"),
        waits.c.tool_call_id == bindparam("tool_call"),
    )
    .values(superseded=literal_column("true"))
)

DUE_WAITS: Final = Statement(
    select(waits.c.workspace_id, *SELECT_WAIT.selected_columns)
    .join(executions, executions.c.id == waits.c.execution_id)
    .where(
        waits.c.decided_at.is_(None),
        waits.c.due_at.is_not(None),
        waits.c.due_at <= bindparam("now"),
        waits.c.superseded.is_(_FALSE),
        executions.c.completed_at.is_(None),
    )
    .order_by(waits.c.due_at)
    .limit(bindparam("limit"))
)
"""Of all workspaces: maintenance decides them."""


@cache
def pending_approvals(*, after: bool) -> Statement:
    """Select a page of open approvals of a workspace, newest first, by keyset."""
    where: list[ColumnElement[bool] | TextClause] = [
        *OPEN_WAITS,
        text(f"waits.{PERSON}"),
        executions.c.completed_at.is_(None),
    ]
    if after:
        where.append(
            tuple_(waits.c.execution_id, waits.c.tool_call_id)
            < tuple_(bindparam("after_execution"), bindparam("after_call"))
        )
    return Statement(
        SELECT_WAIT.join(executions, executions.c.id == waits.c.execution_id)
        .where(*where)
        .order_by(waits.c.execution_id.desc(), waits.c.tool_call_id.desc())
        .limit(bindparam("limit"))
    )


def wait_columns(workspace_id: str, wait: Wait) -> dict[str, Any]:
    """Return a wait's row."""
    parameters = wait.effective_parameters
    return {
        "execution_id": wait.execution_id,
        "tool_call_id": wait.tool_call_id,
        "workspace_id": workspace_id,
        "kind": wait.kind.value,
        "awaiting": wait.awaiting.value,
        "name": wait.name,
        "parameters": to_json(wait.parameters),
        "step": wait.step,
        "requested_at": wait.requested_at,
        "due_at": wait.due_at,
        "due_approved": wait.due_approved,
        "decided_at": wait.decided_at,
        "approved": wait.approved,
        "reason": wait.reason,
        "effective_parameters": None if parameters is None else to_json(parameters),
        "result": to_json(wait.result) if wait.has_result else None,
        "decided_by": wait.decided_by,
        "begun_at": wait.begun_at,
        "superseded": wait.superseded,
        "request": None if wait.request is None else to_json(wait.request.stored()),
    }


def wait_from(row: Row) -> Wait:
    """Return the wait of all columns of `waits` but the workspace."""
    kind, awaiting = WaitKind(row[2]), Awaiting(row[3])
    return Wait(
        execution_id=row[0],
        tool_call_id=row[1],
        kind=kind,
        name=row[4],
        parameters=orjson.loads(row[5]),
        step=row[6],
        requested_at=row[7],
        due_at=row[8],
        due_approved=bool(row[9]),
        decided_at=row[10],
        approved=None if row[11] is None else bool(row[11]),
        reason=row[12],
        effective_parameters=None if row[13] is None else orjson.loads(row[13]),
        result=None if row[14] is None else orjson.loads(row[14]),
        has_result=row[14] is not None,
        decided_by=row[15],
        begun_at=row[16],
        superseded=bool(row[17]),
        child_awaits=None if awaiting is AWAITED[kind] else awaiting,
        request=None if row[18] is None else InputRequest.of(orjson.loads(row[18])),
    )


def wait_of(row: Row) -> Wait:
    """Return the same. Raises ExecutionUnreadable."""
    return read_of(row, wait_from, row[0])


def wait_or_part(row: Row) -> Wait:
    """Return the wait, or as much of it as can be read, with a reason that says so.

    What is of an unknown kind is shown as an approval; it cannot be decided.
    """
    try:
        return wait_from(row)
    except BROKEN:
        kind = WaitKind(row[2]) if row[2] in set(WaitKind) else WaitKind.APPROVAL
        shown = (*row[:2], kind, AWAITED[kind], row[4], "{}", *row[6:12], UNREADABLE.message)
        return wait_from((*shown, None, None, *row[15:18], None))
