"""The end of a child execution, as its parent's wait for it has it.

Three statements, none of which needs another's rows: they lock the parent, decide the wait and read
what the parent awaits then. A parent that still waits for others is neither read nor written.
Siblings that end in one transaction are decided by one statement.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, literal_column, select, text, update

from outlast.model.execution import Status
from outlast.model.wait import CallResult
from outlast.store.driver import Batch, BatchStatement, Query, Row, Statement
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

DECIDE_CHILD: Final = BatchStatement(
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
    .returning(waits.c.tool_call_id, waits.c.step),
    arrays=text(
        """
        UPDATE waits
        SET decided_at = given.at, approved = given.approved, result = given.result
        FROM unnest(
            CAST(:id AS text[]), CAST(:tool_call AS text[]), CAST(:workspace AS text[]),
            CAST(:at AS bigint[]), CAST(:new_approved AS boolean[]), CAST(:new_result AS jsonb[])
        ) AS given (id, tool_call, workspace, at, approved, result)
        WHERE waits.execution_id = given.id AND waits.tool_call_id = given.tool_call
            AND waits.workspace_id = given.workspace AND waits.kind = 'child'
            AND waits.decided_at IS NULL AND waits.superseded IS FALSE
        RETURNING waits.tool_call_id, waits.step
        """
    ).columns(waits.c.tool_call_id, waits.c.step),
)
"""Decides the wait for a child; no row: it was decided or superseded, or is gone."""

AWAITED_BEHIND_CHILD: Final = Statement(select(who_is_awaited(), last_seq_of(bindparam("id"))))
"""Selects who or what the parent awaits now, and the number of its log's last event.

A statement of its own: on Postgres it sees what was committed while the lock was waited for.
"""


@dataclass(frozen=True, slots=True)
class DecidedParent:
    """A locked parent whose waits for children were decided."""

    steps: Mapping[str, int]
    """Numbers of the decided calls, by id."""
    status: str
    segment: int
    updated_at: int
    children: int
    awaited: str | None
    """Who or what it awaits now; None: nothing is open."""
    last_seq: int
    goes_on: bool
    """Whether its row stays as it is."""


def children_ended(
    workspace_id: str, parent_id: str, results: Mapping[str, CallResult], at: int
) -> tuple[Query | Batch, ...]:
    """Return the three queries for the results of calls, by id; the children's rows are locked."""
    of: dict[str, Any] = {"workspace": workspace_id, "id": parent_id}
    decisions = tuple(
        of
        | {
            "tool_call": call_id,
            "at": at,
            "new_approved": not result.is_error,
            "new_result": to_json(result.result),
        }
        for call_id, result in results.items()
    )
    one = len(decisions) == 1
    return (
        Query(LOCK_PARENT, of),
        Query(DECIDE_CHILD, decisions[0]) if one else Batch(DECIDE_CHILD, decisions),
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
        dict(decided),
        status,
        segment,
        updated_at,
        children,
        now,
        last_seq,
        goes_on=status != Status.SUSPENDED or awaiting == now,
    )
