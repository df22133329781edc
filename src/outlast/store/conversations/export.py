"""Reads a conversation for its export: one execution, and a few steps, at a time.

Each read is a transaction of its own, so an export of any size holds neither memory nor a snapshot.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select

from outlast.model.execution import Execution, Step
from outlast.store.driver import Query, Statement, Transaction, TransactionResult
from outlast.store.executions.below import ALL_BELOW
from outlast.store.executions.rows import execution_of
from outlast.store.executions.statements import OWNED, SELECT_EXECUTION
from outlast.store.executions.steps import STEP_COLUMNS, step_of
from outlast.store.executions.tables import executions, steps

NEXT_TURN: Final = Statement(
    SELECT_EXECUTION.where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.id > bindparam("after"),
        executions.c.is_purged.is_(False),
    )
    .order_by(executions.c.id)
    .limit(1)
)
"""Selects the next execution of a conversation, superseded ones too."""

EXPORTED_STEPS: Final = Statement(
    select(*STEP_COLUMNS, steps.c.superseded)
    .where(steps.c.execution_id == OWNED, steps.c.number > bindparam("behind"))
    .order_by(steps.c.number)
    .limit(bindparam("limit"))
)
"""Selects steps, superseded ones too."""


@dataclass(frozen=True, slots=True)
class ExportedStep:
    """A step, and whether a roll-back has superseded it."""

    step: Step
    superseded: bool


def read_next_turn(
    workspace_id: str, conversation_id: str, after: str
) -> Transaction[Execution | None]:
    """Read the execution after this one; None after the last."""
    of = {"workspace": workspace_id, "conversation": conversation_id, "after": after}
    rows = yield Query(NEXT_TURN, of)
    return TransactionResult(execution_of(rows[0]) if rows else None)


def read_below(workspace_id: str, execution_id: str) -> Transaction[list[str]]:
    """Read the ids of all that an execution has called, on all levels, oldest first."""
    rows = yield Query(ALL_BELOW, {"workspace": workspace_id, "id": execution_id})
    return TransactionResult(sorted(row[0] for row in rows))


def read_some_steps(
    workspace_id: str, execution_id: str, behind: int, limit: int
) -> Transaction[list[ExportedStep]]:
    """Read the steps after this number."""
    of = {"workspace": workspace_id, "id": execution_id, "behind": behind, "limit": limit}
    rows = yield Query(EXPORTED_STEPS, of)
    return TransactionResult([ExportedStep(step_of(row[:-1]), bool(row[-1])) for row in rows])
