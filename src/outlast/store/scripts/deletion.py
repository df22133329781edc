"""The transaction that deletes an execution."""

from outlast.model.execution import TERMINAL
from outlast.store.driver import Query, Transaction, TransactionResult
from outlast.store.executions.locks import locked_turn
from outlast.store.scripts.turns import NextTurn, next_turn
from outlast.store.statements import checkpoints as sql


def delete_execution(workspace_id: str, execution_id: str) -> Transaction[None]:
    """Delete the row, all that hangs on it, and the conversation where this was its only turn."""
    execution = yield from locked_turn(workspace_id, execution_id)
    conversation = {"workspace": workspace_id, "conversation": execution.conversation_id}
    for statement in sql.DELETE_CONTENT:
        yield Query(statement, {"id": execution.id})
    yield Query(sql.DELETE_EXECUTION, {"id": execution.id})
    yield Query(sql.DELETE_EMPTY_CONVERSATION, conversation)
    following = NextTurn()
    if execution.status not in TERMINAL:
        at = execution.updated_at
        following = yield from next_turn(workspace_id, execution.conversation_id, at)
    return TransactionResult(None, following.committed, following.runnable, erased=True)
