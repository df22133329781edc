"""The table of approvals, its statements and its rows."""

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

from outlast.model.approval import Approval, ApprovalKind
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

approvals: Final = Table(
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

_approval: Final = select(*(column for column in approvals.c if column.name != "workspace_id"))

APPROVALS: Final = Statement(
    _approval.where(approvals.c.execution_id == OWNED).order_by(
        approvals.c.requested_at, approvals.c.tool_call_id
    )
)

FORGET_APPROVAL: Final = Statement(
    delete(approvals).where(
        approvals.c.execution_id == bindparam("id"),
        approvals.c.tool_call_id == bindparam("tool_call"),
    )
)
"""Before the call is asked about again; the log keeps what was asked and decided."""

INSERT_APPROVAL: Final = Statement(insert(approvals))

DECIDE_APPROVAL: Final = Statement(
    update(approvals)
    .where(
        approvals.c.execution_id == bindparam("id"),
        approvals.c.tool_call_id == bindparam("tool_call"),
        approvals.c.decided_at.is_(None),
    )
    .values(
        decided_at=bindparam("at"),
        approved=bindparam("new_approved"),
        reason=bindparam("new_reason"),
        effective_parameters=bindparam("new_parameters"),
        result=bindparam("new_result"),
        decided_by=bindparam("new_decided_by"),
    )
    .returning(approvals.c.tool_call_id)
)
"""The first decision wins: no row means that there is one. The execution's row is locked."""

BEGIN_APPROVED: Final = Statement(
    update(approvals)
    .where(
        approvals.c.execution_id == bindparam("id"),
        approvals.c.tool_call_id == bindparam("tool_call"),
    )
    .values(begun_at=bindparam("at"))
)
"""Only inside `advance`."""

APPROVAL: Final = Statement(
    _approval.where(
        approvals.c.execution_id == OWNED,
        approvals.c.tool_call_id == bindparam("tool_call"),
        approvals.c.superseded.is_(_FALSE),
    )
)
"""One by its key: a decision costs the same however many were requested."""

SOME_OPEN: Final = Statement(
    select(approvals.c.tool_call_id)
    .where(
        approvals.c.workspace_id == bindparam("workspace"),
        approvals.c.execution_id == bindparam("id"),
        approvals.c.decided_at.is_(None),
        approvals.c.superseded.is_(_FALSE),
    )
    .limit(literal_column("1"))
)
"""Whether one is open, by the index of the open ones. The execution's row is locked."""

SOME_DECIDED: Final = Statement(
    select(approvals.c.tool_call_id)
    .where(
        approvals.c.execution_id == bindparam("id"),
        approvals.c.decided_at.is_not(None),
        approvals.c.superseded.is_(_FALSE),
    )
    .limit(literal_column("1"))
)
"""Whether one is decided; looked for only where none is open."""

SUPERSEDE_APPROVAL: Final = Statement(
    update(approvals)
    .where(
        approvals.c.execution_id == bindparam("id"),
        approvals.c.tool_call_id == bindparam("tool_call"),
    )
    .values(superseded=literal_column("true"))
)

DUE_APPROVALS: Final = Statement(
    select(executions.c.workspace_id, *_approval.selected_columns)
    .join(executions, executions.c.id == approvals.c.execution_id)
    .where(
        approvals.c.decided_at.is_(None),
        approvals.c.expires_at.is_not(None),
        approvals.c.expires_at <= bindparam("now"),
        approvals.c.superseded.is_(_FALSE),
        executions.c.completed_at.is_(None),
    )
    .order_by(approvals.c.expires_at)
    .limit(bindparam("limit"))
)
"""All workspaces: whoever looks after expiry decides them."""


@cache
def pending_approvals(*, after: bool) -> Statement:
    """One page of what waits in a workspace, newest first, by keyset."""
    where: list[ColumnElement[bool]] = [
        approvals.c.workspace_id == bindparam("workspace"),
        approvals.c.decided_at.is_(None),
        approvals.c.superseded.is_(_FALSE),
        executions.c.completed_at.is_(None),
    ]
    if after:
        where.append(
            tuple_(approvals.c.execution_id, approvals.c.tool_call_id)
            < tuple_(bindparam("after_execution"), bindparam("after_call"))
        )
    return Statement(
        _approval.join(executions, executions.c.id == approvals.c.execution_id)
        .where(*where)
        .order_by(approvals.c.execution_id.desc(), approvals.c.tool_call_id.desc())
        .limit(bindparam("limit"))
    )


def approval_columns(workspace_id: str, approval: Approval) -> dict[str, Any]:
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


def approval_from(row: Row) -> Approval:
    """Read all columns of `approvals`."""
    return Approval(
        execution_id=row[0],
        tool_call_id=row[1],
        kind=ApprovalKind(row[2]),
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
