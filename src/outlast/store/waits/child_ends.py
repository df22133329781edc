"""The end of a child execution, as its parent's wait for it has it.

Three statements, none of which needs another's rows: they lock the parent, decide the wait and read
what the parent awaits then. A parent that still waits for others is neither read nor written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, literal_column, select, update

from outlast.model.execution import Status
from outlast.model.wait import CallResult
from outlast.store.driver import Query, Row, Statement
from outlast.store.executions.statements import last_seq_of
from outlast.store.executions.tables import executions
from outlast.store.tables import to_json
from outlast.store.waits.rows import waits, who_is_awaited

LOCK_PARENT: Final = Statement(
    select(
        executions.c.status,
        executions.c.segment,
        executions.c.updated_at,
        executions.c.awaiting,
        executions.c.children,
    )
    .where(executions.c.id == bindparam("id"), executions.c.workspace_id == bindparam("workspace"))
    .with_for_update()
)
"""Locks the parent, and selects what its child's end needs to know of it."""

DECIDE_CHILD: Final = Statement(
    update(waits)
    .where(
        waits.c.execution_id == bindparam("id"),
        waits.c.tool_call_id == bindparam("tool_call"),
        waits.c.workspace_id == bindparam("workspace"),
        waits.c.kind == literal_column("'child'"),
        waits.c.decided_at.is_(None),
        waits.c.superseded.is_(literal_column("false")),
    )
    .values(
        decided_at=bindparam("at"),
        approved=bindparam("new_approved"),
        result=bindparam("new_result"),
    )
    .returning(waits.c.step)
)
"""Decides the wait for a child; no row: it was decided or superseded, or is gone."""

AWAITED_BEHIND_CHILD: Final = Statement(select(who_is_awaited(), last_seq_of(bindparam("id"))))
"""Selects who or what the parent awaits now, and the number of its log's last event.

A statement of its own: on Postgres it sees what was committed while the lock was waited for.
"""


@dataclass(frozen=True, slots=True)
class DecidedParent:
    """A locked parent whose wait for a child was decided."""

    step: int
    """Number of the call."""
    status: str
    segment: int
    updated_at: int
    children: int
    awaited: str | None
    """Who or what it awaits now; None: nothing is open."""
    last_seq: int
    goes_on: bool
    """Whether its row stays as it is."""


def child_ended(
    workspace_id: str, parent_id: str, tool_call_id: str, result: CallResult, at: int
) -> tuple[Query, ...]:
    """Return the three queries; the child's row is locked before."""
    of: dict[str, Any] = {"workspace": workspace_id, "id": parent_id}
    decision = {
        "tool_call": tool_call_id,
        "at": at,
        "new_approved": not result.is_error,
        "new_result": to_json(result.result),
    }
    return (
        Query(LOCK_PARENT, of),
        Query(DECIDE_CHILD, of | decision),
        Query(AWAITED_BEHIND_CHILD, of),
    )


def decided_parent(answers: Sequence[Sequence[Row]]) -> DecidedParent | None:
    """Return the parent from the rows of the three; None if this has decided nothing."""
    places, decided, awaited = answers
    if not places or not decided:
        return None
    ((status, segment, updated_at, awaiting, children),) = places
    ((now, last_seq),) = awaited
    return DecidedParent(
        decided[0][0],
        status,
        segment,
        updated_at,
        children,
        now,
        last_seq,
        goes_on=status != Status.SUSPENDED or awaiting == now,
    )
