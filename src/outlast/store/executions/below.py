"""The descendants of an execution: all that it has called, and what those have called."""

from typing import Final

from sqlalchemy import select

from outlast.model.execution import Execution
from outlast.store.driver import Part, Query, Row, Statement, Transaction, TransactionResult
from outlast.store.executions.rows import execution_from
from outlast.store.executions.statements import OWNED, SELECT_EXECUTION
from outlast.store.executions.tables import executions

_below: Final = (
    select(executions.c.id).where(executions.c.parent_id == OWNED).cte("below", recursive=True)
)
_child: Final = executions.alias("child")
_all: Final = _below.union_all(select(_child.c.id).where(_child.c.parent_id == _below.c.id))

ALL_BELOW_IDS: Final = select(_all.c.id)

ALL_BELOW: Final = Statement(ALL_BELOW_IDS)
"""Selects the ids of all descendants of an execution, which is reached through its workspace."""

_live_below: Final = SELECT_EXECUTION.where(
    executions.c.id.in_(ALL_BELOW_IDS), executions.c.completed_at.is_(None)
).order_by(executions.c.depth.desc(), executions.c.id.desc())

LIVE_BELOW: Final = Statement(_live_below)
"""Selects the live descendants of an execution, the deepest first."""

LOCK_LIVE_BELOW: Final = Statement(_live_below.with_for_update())
"""The same, locking them until this transaction ends: the deepest first, of these the newest."""


def lock_live_below(workspace_id: str, execution_id: str) -> Part[tuple[Execution, ...]]:
    """Lock and return the live descendants of an execution, the deepest first.

    Before its own row, and after its conversation's. Whoever is locked creates no more, so what was
    created meanwhile is found by reading again.
    """
    found: list[Row] = []
    of = {"workspace": workspace_id, "id": execution_id}
    while len(rows := (yield Query(LOCK_LIVE_BELOW, of))) > len(found):
        found = rows
    return tuple(map(execution_from, found))


def live_below(workspace_id: str, execution_id: str) -> Transaction[list[Execution]]:
    """Read the live descendants of an execution, the deepest first."""
    rows = yield Query(LIVE_BELOW, {"workspace": workspace_id, "id": execution_id})
    return TransactionResult([execution_from(row) for row in rows])
