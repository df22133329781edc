"""Statements on approvals: ask, decide once, find those that wait and those that have expired."""

from functools import cache
from typing import Final

from sqlalchemy import bindparam, delete, insert, literal_column, select, tuple_, update
from sqlalchemy.sql.expression import ColumnElement

from outlast.store.driver import Statement
from outlast.store.executions.statements import OWNED
from outlast.store.executions.tables import executions
from outlast.store.schema import approvals

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
