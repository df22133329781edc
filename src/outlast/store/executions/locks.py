"""Parts that lock an execution, and compare and set its row."""

from collections.abc import Callable
from typing import Any, TypeAlias

from outlast.model.error import ExecutionNotFound
from outlast.model.execution import Execution, Status
from outlast.store.conversations.rows import LOCK_TURNS
from outlast.store.driver import Part, Query, Row, Statement
from outlast.store.executions.below import Live, lock_live_below
from outlast.store.executions.rows import advance_columns, execution_of
from outlast.store.executions.statements import (
    ADVANCE_AWAITING,
    ADVANCE_EXECUTION,
    ADVANCE_LIVE,
    ADVANCE_RUNNING,
    EXECUTION,
    LOCK_EXECUTION,
    SET_STATE,
)
from outlast.store.tables import to_json

LiveBelow: TypeAlias = tuple[Live, ...]


def compare_and_set(before: Execution, after: Execution, *, keep_pause: bool) -> Query:
    """Compare and set one row; return whether a cancel was requested, None if it has changed."""
    parameters = compared(before, after, keep_pause=keep_pause)
    if Status.SUSPENDED not in (before.status, after.status):
        return Query(advance_statement(before, after, keep_pause=keep_pause), parameters)
    awaiting = after.awaiting if after.status is Status.SUSPENDED else None
    new = None if awaiting is None else awaiting.value
    return Query(ADVANCE_AWAITING, parameters | {"new_awaiting": new})


def advance_statement(before: Execution, after: Execution, *, keep_pause: bool) -> Statement:
    """Return the statement that sets what this move may change; not for suspensions."""
    if not keep_pause or before.completed_at is not None or after.completed_at is not None:
        return ADVANCE_EXECUTION
    if before.status is after.status is Status.RUNNING and before.segment == after.segment:
        return ADVANCE_RUNNING
    return ADVANCE_LIVE


def compared(before: Execution, after: Execution, *, keep_pause: bool) -> dict[str, Any]:
    """Return the parameters: what is compared, and what is set."""
    return {
        "id": before.id,
        "workspace": before.workspace_id,
        "from_status": before.status.value,
        "from_segment": before.segment,
        "from_waiting": before.waiting,
        "from_steps": before.steps,
        "from_credits": before.credits,
        "keep_pause": keep_pause,
    } | advance_columns(after)


def locked(
    workspace_id: str, execution_id: str, read: Callable[[Row], Execution] = execution_of
) -> Part[Execution]:
    """Return the execution's row, locked until the end of the transaction.

    Raises ExecutionNotFound, ExecutionUnreadable.
    """
    rows = yield Query(LOCK_EXECUTION, {"id": execution_id, "workspace": workspace_id})
    if not rows:
        raise ExecutionNotFound
    return read(rows[0])


def locked_turn(workspace_id: str, execution_id: str) -> Part[Execution]:
    """Like `locked`; its conversation's turns, and its live descendants, are locked too."""
    return (yield from locked_tree(workspace_id, execution_id))[0]


def locked_tree(
    workspace_id: str, execution_id: str, read: Callable[[Row], Execution] = execution_of
) -> Part[tuple[Execution, LiveBelow]]:
    """Like `locked_turn`; return the live descendants too, the deepest first."""
    rows = yield Query(EXECUTION, {"id": execution_id, "workspace": workspace_id})
    if not rows:
        raise ExecutionNotFound
    found = read(rows[0])
    yield Query(LOCK_TURNS, {"workspace": workspace_id, "conversation": found.conversation_id})
    live: LiveBelow = ()
    if found.children:
        live = yield from lock_live_below(workspace_id, execution_id)
    execution = yield from locked(workspace_id, execution_id, read)
    if execution.children > found.children:  # created since it was read
        live = yield from lock_live_below(workspace_id, execution_id)
    return execution, live


def set_state(execution_id: str, state: dict[str, Any]) -> Part[None]:
    """Set the execution's state, without changing what a segment compares."""
    yield Query(SET_STATE, {"given_id": execution_id, "new_state": to_json(state)})
