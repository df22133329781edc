"""The transaction that deletes an execution."""

from contextlib import suppress
from typing import Final

from sqlalchemy import bindparam, delete, select

from outlast.model.client_call import ClientCallAnswered
from outlast.model.error import ExecutionNotFound
from outlast.model.event import ApprovalResolved
from outlast.model.execution import TERMINAL, Execution
from outlast.model.wait import CallResult
from outlast.store.blobs import forget_blobs
from outlast.store.budgets.tables import DELETE_BUDGET
from outlast.store.checkpoints import checkpoints
from outlast.store.conversations.rows import conversations
from outlast.store.driver import Part, Query, Row, Statement, Transaction, TransactionResult
from outlast.store.executions.below import ALL_BELOW, UnreadChild
from outlast.store.executions.browsers import browsers
from outlast.store.executions.children import Effects, answer, call_of
from outlast.store.executions.locks import locked, locked_tree
from outlast.store.executions.partial import execution_or_part
from outlast.store.executions.spending import release_unread
from outlast.store.executions.spent_below import keep_spent
from outlast.store.executions.tables import events, execution_metadata, executions, steps
from outlast.store.executions.turns import next_turn
from outlast.store.idempotency import idempotency
from outlast.store.tasks.rows import tasks
from outlast.store.waits.above import tell_root, withdrawn
from outlast.store.waits.rows import waits

DELETE_CONTENT: Final = tuple(
    Statement(delete(table).where(table.c.execution_id == bindparam("id")))
    for table in (
        events,
        steps,
        checkpoints,
        waits,
        idempotency,
        tasks,
        execution_metadata,
        browsers,
    )
)

DELETED: Final = CallResult("The agent's execution was deleted.", is_error=True)
"""What a child that is deleted while it is live gives its parent's call."""

DELETE_EXECUTION: Final = Statement(delete(executions).where(executions.c.id == bindparam("id")))

DELETE_EMPTY_CONVERSATION: Final = Statement(
    delete(conversations).where(
        conversations.c.id == bindparam("conversation"),
        conversations.c.workspace_id == bindparam("workspace"),
        ~select(executions.c.id)
        .where(
            executions.c.workspace_id == bindparam("workspace"),
            executions.c.conversation_id == bindparam("conversation"),
        )
        .exists(),
    )
)
"""Deletes a conversation that has lost its last turn."""


def _leave_spent(execution: Execution) -> Part[None]:
    """Leave what the execution has spent with its parent, if there is one."""
    if execution.parent_id is None:
        return
    with suppress(ExecutionNotFound):
        yield from locked(execution.workspace_id, execution.parent_id, execution_or_part)
    yield from keep_spent(execution)


def delete_execution(workspace_id: str, execution_id: str) -> Transaction[None]:
    """Delete the row with all its data, what it has called, and a conversation left empty."""
    execution, live = yield from locked_tree(workspace_id, execution_id, execution_or_part)
    for one in (*live, execution):
        if isinstance(one, UnreadChild) or one.reserved is not None:
            yield from release_unread(workspace_id, one.id, execution.updated_at)
    withdrawals: list[ApprovalResolved | ClientCallAnswered] = []
    if execution.root_id is not None:
        withdrawals = yield from withdrawn((execution, *live))
    below: list[Row] = []
    if execution.children:
        below = yield Query(ALL_BELOW, {"workspace": workspace_id, "id": execution.id})
    yield from _leave_spent(execution)
    ids = (*(row[0] for row in below), execution.id)
    yield from forget_blobs(ids)
    for one in ids:
        for statement in (*DELETE_CONTENT, DELETE_EXECUTION):
            yield Query(statement, {"id": one})
    if execution.children and execution.root_id is None:
        for statement in DELETE_BUDGET:
            yield Query(statement, {"id": execution.id})
    yield Query(
        DELETE_EMPTY_CONVERSATION,
        {"workspace": workspace_id, "conversation": execution.conversation_id},
    )
    effects = Effects(cancelled=tuple(one.id for one in live))
    if execution.status not in TERMINAL:
        at = execution.updated_at
        effects += yield from answer(call_of(execution), DELETED, at)
        passed = yield from tell_root(execution, withdrawals, at)
        effects += Effects(tuple(passed))
        following = yield from next_turn(workspace_id, execution.conversation_id, at)
        effects += Effects(following.committed, following.runnable)
    return TransactionResult(
        None, effects.committed, effects.runnable, cancelled=effects.cancelled, erased=True
    )
