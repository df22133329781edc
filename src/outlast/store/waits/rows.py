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
    bindparam,
    delete,
    insert,
    literal_column,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy.sql.expression import ColumnElement

from outlast.model.wait import Wait, WaitKind
from outlast.store.driver import Row, Statement
from outlast.store.executions.statements import OWNED
from outlast.store.executions.tables import executions
from outlast.store.tables import (
    JSON,
    added_count,
    added_flag,
    identifier,
    json,
    metadata,
    time,
    to_json,
)

waits: Final = Table(
    "approvals",
    metadata,
    identifier("execution_id", primary_key=True),
    identifier("tool_call_id", primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    json("parameters"),
    time("requested_at"),
    time("decided_at", nullable=True),
    Column("approved", Boolean(create_constraint=False)),
    Column("reason", Text),
    Column("effective_parameters", JSON),
    Column("result", JSON),
    identifier("decided_by", nullable=True),
    # Since 0003:
    added_count("step"),
    time("begun_at", nullable=True),
    time("expires_at", nullable=True),
    added_flag("expires_approved"),
    added_flag("superseded"),
    identifier("workspace_id", nullable=True),
    CheckConstraint("kind IN ('approval', 'unknown_outcome')", name="kind"),
    CheckConstraint("(decided_at IS NULL) = (approved IS NULL)", name="decided"),
    Index(
        "ix_approvals_open",
        "workspace_id",
        "execution_id",
        "tool_call_id",
        sqlite_where=text("decided_at IS NULL"),
    ),
    Index(
        "ix_approvals_expires_at",
        "expires_at",
        sqlite_where=text("decided_at IS NULL AND expires_at IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

_FALSE: Final[ColumnElement[bool]] = literal_column("false")

_wait: Final = select(*(column for column in waits.c if column.name != "workspace_id"))

WAITS: Final = Statement(
    _wait.where(waits.c.execution_id == OWNED).order_by(waits.c.requested_at, waits.c.tool_call_id)
)

FORGET_WAIT: Final = Statement(
    delete(waits).where(
        waits.c.execution_id == bindparam("id"),
        waits.c.tool_call_id == bindparam("tool_call"),
    )
)
"""Before the call is asked about again; the log keeps what was asked and decided."""

INSERT_WAIT: Final = Statement(insert(waits))

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
"""The first decision wins: no row means that there is one. The execution's row is locked."""

BEGIN_APPROVED: Final = Statement(
    update(waits)
    .where(
        waits.c.execution_id == bindparam("id"),
        waits.c.tool_call_id == bindparam("tool_call"),
    )
    .values(begun_at=bindparam("at"))
)
"""Only inside `advance`."""

WAIT: Final = Statement(
    _wait.where(
        waits.c.execution_id == OWNED,
        waits.c.tool_call_id == bindparam("tool_call"),
        waits.c.superseded.is_(_FALSE),
    )
)
"""One by its key: a decision costs the same however many were requested."""

SOME_OPEN: Final = Statement(
    select(waits.c.tool_call_id)
    .where(
        waits.c.workspace_id == bindparam("workspace"),
        waits.c.execution_id == bindparam("id"),
        waits.c.decided_at.is_(None),
        waits.c.superseded.is_(_FALSE),
    )
    .limit(literal_column("1"))
)
"""Whether one is open, by the index of the open ones. The execution's row is locked."""

SOME_DECIDED: Final = Statement(
    select(waits.c.tool_call_id)
    .where(
        waits.c.execution_id == bindparam("id"),
        waits.c.decided_at.is_not(None),
        waits.c.superseded.is_(_FALSE),
    )
    .limit(literal_column("1"))
)
"""Whether one is decided; looked for only where none is open."""

SUPERSEDE_WAIT: Final = Statement(
    update(waits)
    .where(
        waits.c.execution_id == bindparam("id"),
        waits.c.tool_call_id == bindparam("tool_call"),
    )
    .values(superseded=literal_column("true"))
)

DUE_WAITS: Final = Statement(
    select(executions.c.workspace_id, *_wait.selected_columns)
    .join(executions, executions.c.id == waits.c.execution_id)
    .where(
        waits.c.decided_at.is_(None),
        waits.c.expires_at.is_not(None),
        waits.c.expires_at <= bindparam("now"),
        waits.c.superseded.is_(_FALSE),
        executions.c.completed_at.is_(None),
    )
    .order_by(waits.c.expires_at)
    .limit(bindparam("limit"))
)
"""All workspaces: whoever looks after expiry decides them."""


@cache
def pending_approvals(*, after: bool) -> Statement:
    """One page of what waits in a workspace, newest first, by keyset."""
    where: list[ColumnElement[bool]] = [
        waits.c.workspace_id == bindparam("workspace"),
        waits.c.decided_at.is_(None),
        waits.c.superseded.is_(_FALSE),
        executions.c.completed_at.is_(None),
    ]
    if after:
        where.append(
            tuple_(waits.c.execution_id, waits.c.tool_call_id)
            < tuple_(bindparam("after_execution"), bindparam("after_call"))
        )
    return Statement(
        _wait.join(executions, executions.c.id == waits.c.execution_id)
        .where(*where)
        .order_by(waits.c.execution_id.desc(), waits.c.tool_call_id.desc())
        .limit(bindparam("limit"))
    )


def wait_columns(workspace_id: str, approval: Wait) -> dict[str, Any]:
    """An approval's row."""
    return {
        "workspace_id": workspace_id,
        "execution_id": approval.execution_id,
        "tool_call_id": approval.tool_call_id,
        "kind": approval.kind.value,
        "name": approval.name,
        "parameters": to_json(approval.parameters),
        "requested_at": approval.requested_at,
        "decided_at": approval.decided_at,
        "approved": approval.approved,
        "reason": approval.reason,
        "effective_parameters": None
        if approval.effective_parameters is None
        else to_json(approval.effective_parameters),
        "result": to_json(approval.result) if approval.has_result else None,
        "decided_by": approval.decided_by,
        "step": approval.step,
        "begun_at": approval.begun_at,
        "expires_at": approval.expires_at,
        "expires_approved": approval.expires_approved,
        "superseded": approval.superseded,
    }


def wait_from(row: Row) -> Wait:
    """Read all columns of `waits`."""
    return Wait(
        execution_id=row[0],
        tool_call_id=row[1],
        kind=WaitKind(row[2]),
        name=row[3],
        parameters=orjson.loads(row[4]),
        requested_at=row[5],
        decided_at=row[6],
        approved=None if row[7] is None else bool(row[7]),
        reason=row[8],
        effective_parameters=None if row[9] is None else orjson.loads(row[9]),
        result=None if row[10] is None else orjson.loads(row[10]),
        has_result=row[10] is not None,
        decided_by=row[11],
        step=row[12],
        begun_at=row[13],
        expires_at=row[14],
        expires_approved=bool(row[15]),
        superseded=bool(row[16]),
    )
