"""What waits for a person or a client, of a workspace, of an execution, or one call.

The list of a workspace has what expires first at its top, and what never expires behind it.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import TextClause, bindparam, text, tuple_
from sqlalchemy.sql.expression import ColumnElement

from outlast.model.wait import Wait
from outlast.store.driver import Query, Row, Statement, Transaction, TransactionResult
from outlast.store.executions.statements import OWNED
from outlast.store.executions.tables import executions
from outlast.store.waits.rows import (
    OPEN_BELOW,
    OPEN_WAITS,
    PARTY,
    SELECT_WAIT,
    WAIT,
    wait_of,
    wait_or_part,
    waits,
)

_PLACE: Final = (waits.c.execution_id, waits.c.tool_call_id)

OPEN_OF_EXECUTION: Final = Statement(
    SELECT_WAIT.where(waits.c.execution_id == OWNED, *OPEN_WAITS, text(f"waits.{PARTY}")).order_by(
        waits.c.requested_at, waits.c.tool_call_id
    )
)


@dataclass(frozen=True, slots=True)
class AwaitedPage:
    """A page of what waits, behind `after`."""

    limit: int
    after: tuple[int | None, str, str] | None = None
    """When it expires, its execution, its tool call."""


@cache
def awaited(*, expires: bool, after: bool) -> Statement:
    """Select a page of a workspace's open waits that expire, or that do not, by keyset."""
    where: list[ColumnElement[bool] | TextClause] = [
        *OPEN_WAITS,
        text(f"waits.{PARTY}"),
        executions.c.completed_at.is_(None),
        waits.c.due_at.is_not(None) if expires else waits.c.due_at.is_(None),
    ]
    order = (waits.c.due_at, *_PLACE) if expires else _PLACE
    if after:
        names = ("after_due", "after_execution", "after_call")[not expires :]
        where.append(tuple_(*order) > tuple_(*map(bindparam, names)))
    return Statement(
        SELECT_WAIT.join(executions, executions.c.id == waits.c.execution_id)
        .where(*where)
        .order_by(*order)
        .limit(bindparam("limit"))
    )


def read_awaited(workspace_id: str, page: AwaitedPage) -> Transaction[list[Wait]]:
    """Read a page, and one more row to tell whether there are more."""
    wanted = page.limit + 1
    of: dict[str, Any] = {"workspace": workspace_id}
    due, execution, call = page.after or (None, "", "")
    place = {"after_execution": execution, "after_call": call}
    rows: list[Row] = []
    if page.after is None or due is not None:
        begins = {} if page.after is None else place | {"after_due": due}
        statement = awaited(expires=True, after=bool(begins))
        rows += yield Query(statement, of | begins | {"limit": wanted})
    if len(rows) < wanted:
        goes_on = page.after is not None and due is None
        statement = awaited(expires=False, after=goes_on)
        rest = {"limit": wanted - len(rows)} | (place if goes_on else {})
        rows += yield Query(statement, of | rest)
    return TransactionResult([wait_or_part(row) for row in rows])


def read_open(workspace_id: str, execution_id: str, *, below: bool) -> Transaction[list[Wait]]:
    """Read what an execution waits for, and with `below` what all that it has called does."""
    of = {"id": execution_id, "workspace": workspace_id}
    rows = [*(yield Query(OPEN_OF_EXECUTION, of))]
    if below:
        rows += yield Query(OPEN_BELOW, of)
    return TransactionResult([wait_or_part(row) for row in rows])


def read_wait(workspace_id: str, execution_id: str, tool_call_id: str) -> Transaction[Wait | None]:
    """Read the wait of a call, decided or not; None if there is none, or it is superseded."""
    of = {"id": execution_id, "workspace": workspace_id, "tool_call": tool_call_id}
    rows = yield Query(WAIT, of)
    return TransactionResult(wait_of(rows[0]) if rows else None)
