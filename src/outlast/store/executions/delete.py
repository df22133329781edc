"""The transaction that deletes an execution."""

from typing import Final

from sqlalchemy import bindparam, delete, select

from outlast.model.execution import TERMINAL
from outlast.store.checkpoints import checkpoints
from outlast.store.conversations.rows import conversations
from outlast.store.driver import Query, Statement, Transaction, TransactionResult
from outlast.store.executions.locks import locked_turn
from outlast.store.executions.tables import events, execution_metadata, executions, steps
from outlast.store.executions.turns import NextTurn, next_turn
from outlast.store.idempotency import idempotency
from outlast.store.tasks.rows import tasks
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
    )
)

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


def delete_execution(workspace_id: str, execution_id: str) -> Transaction[None]:
    """Delete the row with all its data, and the conversation if this was its only turn."""
    execution = yield from locked_turn(workspace_id, execution_id)
    conversation = {"workspace": workspace_id, "conversation": execution.conversation_id}
    for statement in DELETE_CONTENT:
        yield Query(statement, {"id": execution.id})
    yield Query(DELETE_EXECUTION, {"id": execution.id})
    yield Query(DELETE_EMPTY_CONVERSATION, conversation)
    following = NextTurn()
    if execution.status not in TERMINAL:
        at = execution.updated_at
        following = yield from next_turn(workspace_id, execution.conversation_id, at)
    return TransactionResult(None, following.committed, following.runnable, erased=True)
