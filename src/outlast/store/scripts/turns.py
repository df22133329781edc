"""Whose turn it is in a conversation once an execution has ended."""

from dataclasses import replace

from outlast.model.execution import Execution
from outlast.store.scripts import Query, Steps
from outlast.store.scripts.rows import execution_from
from outlast.store.statements import executions as sql


def next_turn(ended: Execution) -> Steps[list[Execution]]:
    """Release the oldest live execution if it waits; the conversation's row is locked."""
    parameters = {"workspace": ended.workspace_id, "conversation": ended.conversation_id}
    rows = yield Query(sql.NEXT_IN_CONVERSATION, parameters)
    if not rows:
        return []
    following = execution_from(rows[0])
    if not following.waiting:
        return []
    yield Query(sql.RELEASE_WAITING, {"id": following.id, "workspace": following.workspace_id})
    return [replace(following, waiting=False)]
