"""Turns of a conversation: who holds them still, and whose it is once an execution has ended."""

from dataclasses import replace

from outlast.model.execution import TERMINAL, Execution, Status
from outlast.store.scripts import Query, Steps
from outlast.store.scripts.rows import execution_from
from outlast.store.statements import checkpoints as checkpoint_sql
from outlast.store.statements import conversations as conversation_sql
from outlast.store.statements import executions as sql


def lock_turns(before: Execution, after: Execution) -> Steps[tuple[bool, bool]]:
    """Whether the execution ends, or its segment comes to rest: then turns move with it.

    Locks are taken in one order: the conversation, then its executions.
    """
    ends = after.status in TERMINAL and before.status not in TERMINAL
    rests = before.status is Status.RUNNING and after.status in (Status.SUSPENDED, Status.PAUSED)
    conversation = {"workspace": after.workspace_id, "conversation": after.conversation_id}
    if ends:
        touched = conversation | {"at": after.updated_at}
        yield Query(conversation_sql.TOUCH_CONVERSATION, touched)
    elif rests:
        yield Query(checkpoint_sql.LOCK_TURNS, conversation)
    return ends, rests


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
