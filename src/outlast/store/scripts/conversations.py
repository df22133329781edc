"""Transactions on conversations."""

from collections import defaultdict
from typing import Any, Final

from outlast.model.conversation import Conversation
from outlast.model.error import Conflict, ConversationNotFound
from outlast.model.execution import Step
from outlast.store.conversation_port import ConversationFilter, History, TurnStamp
from outlast.store.conversations.rows import (
    CONVERSATION,
    DELETE_CONVERSATION,
    LOCK_CONVERSATION,
    conversation_from,
    list_conversations,
)
from outlast.store.driver import Part, Query, Transaction, TransactionResult
from outlast.store.executions.rows import execution_from, without_message
from outlast.store.executions.statements import COUNT_LIVE
from outlast.store.executions.steps import step_from, without_content
from outlast.store.statements import conversations as sql

_AFTER_ALL: Final = 2**63 - 1


def conversation(workspace_id: str, conversation_id: str) -> Transaction[Conversation]:
    """One row of the workspace."""
    rows = yield Query(CONVERSATION, {"workspace": workspace_id, "conversation": conversation_id})
    if not rows:
        raise ConversationNotFound
    return TransactionResult(conversation_from(rows[0]))


def conversations(
    workspace_id: str, wanted: ConversationFilter, limit: int
) -> Transaction[list[Conversation]]:
    """A page by keyset, and one row more to tell whether there are more."""
    given: dict[str, Any] = {}
    if wanted.agent_id is not None:
        given["agent_id"] = wanted.agent_id
    if wanted.user is not None:
        given["user"] = wanted.user
    filters = frozenset(given)
    if wanted.after is not None:
        filters |= {"after"}
        given["after_at"], given["after_id"] = wanted.after
    rows = yield Query(
        list_conversations(filters), given | {"workspace": workspace_id, "limit": limit + 1}
    )
    return TransactionResult([conversation_from(row) for row in rows])


def turn_stamps(
    workspace_id: str, conversation_id: str, before: int
) -> Transaction[tuple[TurnStamp, ...]]:
    """One read of the columns that tell of changes."""
    rows = yield Query(
        sql.TURN_STAMPS,
        {"workspace": workspace_id, "conversation": conversation_id, "before": before},
    )
    return TransactionResult(tuple(TurnStamp(*row) for row in rows))


def turns(
    workspace_id: str, conversation_id: str, before: int | None, since: int
) -> Transaction[tuple[History, ...]]:
    """Two reads, whatever the number of turns."""
    parameters = {
        "workspace": workspace_id,
        "conversation": conversation_id,
        "since": since,
        "before": _AFTER_ALL if before is None else before,
    }
    executions = yield Query(sql.TURNS, parameters)
    steps = yield Query(sql.TURNS_STEPS, parameters)
    by_execution: dict[str, list[Step]] = defaultdict(list)
    for row in steps:
        by_execution[row[0]].append(step_from(row))
    return TransactionResult(
        tuple(
            History(execution, tuple(by_execution[execution.id]))
            for execution in map(execution_from, executions)
        )
    )


def delete_conversation(workspace_id: str, conversation_id: str, at: int) -> Transaction[None]:
    """Delete the conversation's row and mark its executions: nothing of them is shown from here on.

    What they said in other tables is deleted by `purge`, in pieces.
    """
    parameters = {"workspace": workspace_id, "conversation": conversation_id}
    rows = yield Query(LOCK_CONVERSATION, parameters)
    if not rows:
        raise ConversationNotFound
    if (yield from live_count(workspace_id, conversation_id, 1)):
        raise Conflict("The conversation has a live execution; cancel it first.")
    yield Query(DELETE_CONVERSATION, parameters)
    for execution_id, error in (yield Query(sql.ERRORS_TO_STRIP, parameters)):
        of_one = {"given_id": execution_id, "workspace": workspace_id}
        yield Query(sql.STRIP_ERROR, of_one | {"new_error": without_message(error)})
    yield Query(sql.PURGE_EXECUTIONS, parameters | {"no_text": "", "no_object": "{}", "at": at})
    return TransactionResult(None, erased=True)


def purge(limit: int) -> Transaction[int]:
    """Delete what some executions of deleted conversations said; return how many there were."""
    found = yield Query(sql.PURGING, {"limit": limit})
    for (execution_id,) in found:
        for statement in sql.PURGE_CONTENT:
            yield Query(statement, {"id": execution_id})
        yield from _strip_steps(execution_id)
        yield Query(sql.PURGED, {"given_id": execution_id})
    return TransactionResult(len(found), erased=bool(found))


def live_count(workspace_id: str, conversation_id: str, most: int) -> Part[int]:
    """How many executions of a conversation have not ended; counts no further than `most`."""
    rows = yield Query(
        COUNT_LIVE,
        {"workspace": workspace_id, "conversation": conversation_id, "most": most},
    )
    return int(rows[0][0])


def _strip_steps(execution_id: str) -> Part[None]:
    """Leave what a step was and what it used, and nothing of what was said."""
    for number, kind, data in (yield Query(sql.STEPS_TO_STRIP, {"id": execution_id})):
        yield Query(
            sql.STRIP_STEP,
            {"given_id": execution_id, "given": number, "new_data": without_content(kind, data)},
        )
