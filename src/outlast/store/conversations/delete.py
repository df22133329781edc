"""Transactions that delete a conversation: by request, or because of its age."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, literal_column, null, select, update

from outlast.model.error import Conflict, ConversationNotFound
from outlast.store.budgets.tables import DELETE_BUDGET
from outlast.store.conversations.content import OF_TREES, below_conversation
from outlast.store.conversations.retention import LOCK_DUE, Cutoffs, DueConversation
from outlast.store.conversations.rows import DELETE_CONVERSATION, LOCK_CONVERSATION
from outlast.store.driver import Part, Query, Statement, Transaction, TransactionResult
from outlast.store.executions.rows import without_message
from outlast.store.executions.tables import executions
from outlast.store.executions.turns import live_count

SOME_LIVE_BELOW: Final = Statement(
    select(executions.c.id)
    .where(*below_conversation, executions.c.completed_at.is_(None))
    .limit(literal_column("1"))
)

ERRORS_TO_STRIP: Final = tuple(
    Statement(
        select(executions.c.id, executions.c.error).where(*where, executions.c.error.is_not(None))
    )
    for where in OF_TREES
)

STRIP_ERROR: Final = Statement(
    update(executions)
    .where(
        executions.c.id == bindparam("given_id"),
        executions.c.workspace_id == bindparam("workspace"),
    )
    .values(error=bindparam("new_error"))
)

PURGE_EXECUTIONS: Final = tuple(
    Statement(
        update(executions)
        .where(*where)
        .values(
            input=bindparam("no_text"),
            output=null(),
            metadata=bindparam("no_object"),
            session=bindparam("no_object"),
            instructions=null(),
            forwarded_headers=null(),
            pause_requested=null(),
            state=null(),
            end_user=null(),
            chat_id=null(),
            message_id=null(),
            is_purged=True,
            purging=True,
            updated_at=bindparam("at"),
        )
    )
    for where in OF_TREES
)
"""The records stay, without content."""


@dataclass(frozen=True, slots=True)
class _Live:
    """What of a conversation is live."""

    turns: bool
    below: bool


def delete_conversation(workspace_id: str, conversation_id: str, at: int) -> Transaction[None]:
    """Delete the conversation's row and mark its executions, which are hidden from then on.

    Their content in other tables is deleted by `purge`, in batches.
    """
    of = {"workspace": workspace_id, "conversation": conversation_id}
    if not (yield Query(LOCK_CONVERSATION, of)):
        raise ConversationNotFound
    live = yield from _live(of)
    if live.turns:
        raise Conflict("The conversation has a live execution; cancel it first.")
    if live.below:
        raise Conflict("An agent that the conversation has called is ending; try again.")
    yield from _hide(of, at)
    return TransactionResult(None, erased=True)


def delete_if_due(due: Iterable[DueConversation], cutoffs: Cutoffs, at: int) -> Transaction[int]:
    """Delete conversations like `delete_conversation`, if they are still due; return how many.

    One stays if it has become active, its workspace keeps it longer than before, something of it is
    live, or another transaction has locked it.
    """
    deleted = 0
    for one in due:
        of = {"workspace": one.workspace_id, "conversation": one.id}
        if not (yield Query(LOCK_DUE, of | cutoffs.parameters)):
            continue
        live = yield from _live(of)
        if not (live.turns or live.below):
            yield from _hide(of, at)
            deleted += 1
    return TransactionResult(deleted)


def _live(of: dict[str, Any]) -> Part[_Live]:
    """Return what of the conversation, whose row is locked, is live."""
    turns = yield from live_count(of["workspace"], of["conversation"], 1)
    below = yield Query(SOME_LIVE_BELOW, of)
    return _Live(bool(turns), bool(below))


def _hide(of: dict[str, Any], at: int) -> Part[None]:
    """Delete the row and purge the executions' own columns. Raises Conflict if one is resumed."""
    yield Query(DELETE_CONVERSATION, of)
    for statement in DELETE_BUDGET:
        yield Query(statement, {"id": of["conversation"]})
    for statement in ERRORS_TO_STRIP:
        for execution_id, error in (yield Query(statement, of)):
            of_one = {"given_id": execution_id, "workspace": of["workspace"]}
            yield Query(STRIP_ERROR, of_one | {"new_error": without_message(error)})
    for statement in reversed(PURGE_EXECUTIONS):  # what was called before its callers
        yield Query(statement, of | {"no_text": "", "no_object": "{}", "at": at})
    if (yield Query(SOME_LIVE_BELOW, of)):  # since the first look: its row was not locked by then
        raise Conflict("An agent that the conversation has called was resumed; try again.")
