"""The descendants of an execution: all that it has called, and what those have called."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias

from sqlalchemy import select

from outlast.model.execution import Execution, Status
from outlast.model.unreadable import ExecutionUnreadable
from outlast.store.driver import Part, Query, Row, Statement, Transaction, TransactionResult
from outlast.store.executions.columns import PLACES
from outlast.store.executions.rows import execution_of
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


@dataclass(frozen=True, slots=True)
class UnreadChild:
    """A live descendant whose row cannot be read, newer or broken: its place in the tree."""

    id: str
    workspace_id: str
    parent_id: str | None
    tool_call_id: str | None
    depth: int
    status: Status | None
    """None: one that this version does not know."""
    paused_by: str | None
    pause_requested: str | None
    """Not None: there is a request to pause, as it is stored."""


Live: TypeAlias = Execution | UnreadChild
"""A live descendant of an execution; what cannot be read must not hold up its tree."""


def lock_live_below(workspace_id: str, execution_id: str) -> Part[tuple[Live, ...]]:
    """Lock and return the live descendants of an execution, the deepest first.

    Before its own row, and after its conversation's. Whoever is locked creates no more, so what was
    created meanwhile is found by reading again.
    """
    found: list[Row] = []
    of = {"workspace": workspace_id, "id": execution_id}
    while len(rows := (yield Query(LOCK_LIVE_BELOW, of))) > len(found):
        found = rows
    return tuple(map(_live, found))


def live_below(workspace_id: str, execution_id: str) -> Transaction[list[Execution]]:
    """Read the live descendants of an execution that can be read, the deepest first."""
    rows = yield Query(LIVE_BELOW, {"workspace": workspace_id, "id": execution_id})
    return TransactionResult(read_of(map(_live, rows)))


def read_of(live: Iterable[Live]) -> list[Execution]:
    """Return those that can be read."""
    return [one for one in live if isinstance(one, Execution)]


def _live(row: Row) -> Live:
    with suppress(ExecutionUnreadable):
        return execution_of(row)
    kept = ("id", "workspace_id", "parent_id", "tool_call_id", "depth")
    places = {name: row[PLACES[name]] for name in (*kept, "paused_by", "pause_requested")}
    status = row[PLACES["status"]]
    return UnreadChild(**places, status=Status(status) if status in set(Status) else None)
