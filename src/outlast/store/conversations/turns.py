"""Reads the turns of a conversation for its history."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select

from outlast.model.execution import Execution, Step
from outlast.store.driver import Query, Statement, Transaction, TransactionResult
from outlast.store.executions.rows import execution_of
from outlast.store.executions.steps import STEP_COLUMNS, step_of
from outlast.store.executions.tables import executions, steps


@dataclass(frozen=True, slots=True)
class History:
    """One earlier turn of a conversation: the execution and its steps."""

    execution: Execution
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class TurnStamp:
    """Version of an earlier turn: equal stamps mean equal content."""

    execution_id: str
    turn: int
    status: str
    segment: int
    steps: int
    updated_at: int
    is_purged: bool


TURNS: Final = Statement(
    select(*executions.c)
    .where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.turn >= bindparam("since"),
        executions.c.turn < bindparam("before"),
        executions.c.superseded.is_(False),
    )
    .order_by(executions.c.turn)
)

TURN_STAMPS: Final = Statement(
    select(
        executions.c.id,
        executions.c.turn,
        executions.c.status,
        executions.c.segment,
        executions.c.steps,
        executions.c.updated_at,
        executions.c.is_purged,
    )
    .where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.turn < bindparam("before"),
        executions.c.superseded.is_(False),
    )
    .order_by(executions.c.turn)
)
"""Selects the turns and columns that tell of changes; no content."""

TURNS_STEPS: Final = Statement(
    select(*STEP_COLUMNS)
    .join(executions, executions.c.id == steps.c.execution_id)
    .where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.turn >= bindparam("since"),
        executions.c.turn < bindparam("before"),
        executions.c.superseded.is_(False),
        steps.c.superseded.is_(False),
    )
    .order_by(executions.c.turn, steps.c.number)
)

_AFTER_ALL: Final = 2**63 - 1


def read_turn_stamps(
    workspace_id: str, conversation_id: str, before: int
) -> Transaction[tuple[TurnStamp, ...]]:
    """Read the columns that tell of changes, in one statement."""
    rows = yield Query(
        TURN_STAMPS,
        {"workspace": workspace_id, "conversation": conversation_id, "before": before},
    )
    return TransactionResult(tuple(TurnStamp(*row) for row in rows))


def read_turns(
    workspace_id: str, conversation_id: str, before: int | None, since: int
) -> Transaction[tuple[History, ...]]:
    """Read turns in two statements, whatever their number."""
    parameters = {
        "workspace": workspace_id,
        "conversation": conversation_id,
        "since": since,
        "before": _AFTER_ALL if before is None else before,
    }
    executions = yield Query(TURNS, parameters)
    steps = yield Query(TURNS_STEPS, parameters)
    by_execution: dict[str, list[Step]] = defaultdict(list)
    for row in steps:
        by_execution[row[0]].append(step_of(row))
    return TransactionResult(
        tuple(
            History(execution, tuple(by_execution[execution.id]))
            for execution in map(execution_of, executions)
        )
    )
