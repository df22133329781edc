"""Transactions that delete a conversation: by request, or because of its age."""

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Text, bindparam, cast, delete, literal_column, null, select, true, update

from outlast.model.error import Conflict, ConversationNotFound
from outlast.store.budgets.tables import budget_shares, budgets
from outlast.store.conversations.content import OF_MANY_TREES, OF_TREES, of_conversations
from outlast.store.conversations.retention import LOCK_DUE, Cutoffs, DueConversation
from outlast.store.conversations.rows import LOCK_CONVERSATION, conversations
from outlast.store.driver import (
    Batch,
    BatchStatement,
    Part,
    Query,
    Transaction,
    TransactionResult,
)
from outlast.store.executions.rows import without_message
from outlast.store.executions.tables import executions
from outlast.store.tables import given

_live: Final = executions.c.completed_at.is_(None)
_many: Final = of_conversations.c

LIVE: Final = tuple(
    BatchStatement(
        select(cast(bindparam("conversation"), Text)).where(
            select(executions.c.id)
            .where(*where, _live)
            .limit(literal_column("1"))
            .scalar_subquery()
            .is_not(None)
        ),
        arrays=select(_many.conversation).where(
            select(executions.c.id)
            .where(*of_many, _live)
            .limit(literal_column("1"))
            .scalar_subquery()
            .is_not(None)
        ),
    )
    for where, of_many in zip(OF_TREES, OF_MANY_TREES, strict=True)
)
"""Selects the conversations of which a turn is live, and those of which something below one is."""

ERRORS_TO_STRIP: Final = tuple(
    BatchStatement(
        _errors.where(*where, executions.c.error.is_not(None)),
        arrays=_errors.where(*of_many, executions.c.error.is_not(None)),
    )
    for _errors in (select(executions.c.id, executions.c.workspace_id, executions.c.error),)
    for where, of_many in zip(OF_TREES, OF_MANY_TREES, strict=True)
)

_bare: Final = given(given_id=Text(), workspace=Text(), new_error=executions.c.error.type)

STRIP_ERROR: Final = BatchStatement(
    update(executions)
    .where(
        executions.c.id == bindparam("given_id"),
        executions.c.workspace_id == bindparam("workspace"),
    )
    .values(error=bindparam("new_error")),
    arrays=update(executions)
    .where(executions.c.id == _bare.c.given_id, executions.c.workspace_id == _bare.c.workspace)
    .values(error=_bare.c.new_error),
)

_BARE: Final = {
    "input": literal_column("''"),
    "output": null(),
    "metadata": literal_column("'{}'"),
    "session": literal_column("'{}'"),
    "instructions": null(),
    "client_tools": null(),
    "forwarded_headers": null(),
    "pause_requested": null(),
    "state": null(),
    "end_user": null(),
    "chat_id": null(),
    "message_id": null(),
    "is_purged": true(),
    "purging": true(),
}

PURGE_EXECUTIONS: Final = tuple(
    BatchStatement(
        update(executions).where(*where).values(_BARE | {"updated_at": bindparam("at")}),
        arrays=update(executions).where(*of_many).values(_BARE | {"updated_at": _many.at}),
    )
    for where, of_many in zip(OF_TREES, OF_MANY_TREES, strict=True)
)
"""The records stay, without content."""

_deleted: Final = delete(conversations)

DELETE_CONVERSATIONS: Final = BatchStatement(
    _deleted.where(
        conversations.c.id == bindparam("conversation"),
        conversations.c.workspace_id == bindparam("workspace"),
    ),
    arrays=_deleted.where(
        conversations.c.id == _many.conversation, conversations.c.workspace_id == _many.workspace
    ),
)

DELETE_BUDGETS: Final = tuple(
    BatchStatement(
        delete(table).where(table.c.owner == bindparam("conversation")),
        arrays=delete(table).where(table.c.owner == _many.conversation),
    )
    for table in (budgets, budget_shares)
)
"""Deletes the budgets of conversations, which were reached through the workspace."""


def delete_conversation(workspace_id: str, conversation_id: str, at: int) -> Transaction[None]:
    """Delete the conversation's row and mark its executions, which are hidden from then on.

    Their content in other tables is deleted by `purge`, in batches.
    """
    of = {"workspace": workspace_id, "conversation": conversation_id}
    if not (yield Query(LOCK_CONVERSATION, of)):
        raise ConversationNotFound
    some = (of | {"at": at},)
    turns, below = LIVE
    if (yield Batch(turns, some)):
        raise Conflict("The conversation has a live execution; cancel it first.")
    if (yield Batch(below, some)):
        raise Conflict("An agent that the conversation has called is ending; try again.")
    yield from _hide(some)
    return TransactionResult(None, erased=True)


def delete_if_due(due: Iterable[DueConversation], cutoffs: Cutoffs, at: int) -> Transaction[int]:
    """Delete conversations like `delete_conversation`, if they are still due; return how many.

    One stays if it has become active, its workspace keeps it longer than before, something of it is
    live, or another transaction has locked it.
    """
    wanted = (cutoffs.parameters | {"workspace": o.workspace_id, "conversation": o.id} for o in due)
    locked = yield Batch(LOCK_DUE, tuple(wanted))
    some = tuple({"workspace": of, "conversation": one, "at": at} for of, one in sorted(locked))
    for statement in LIVE:
        if some:
            live = {one for (one,) in (yield Batch(statement, some))}
            some = tuple(of for of in some if of["conversation"] not in live)
    if some:
        yield from _hide(some)
    return TransactionResult(len(some))


def _hide(some: tuple[dict[str, Any], ...]) -> Part[None]:
    """Delete the rows and purge the executions' own columns. Raises Conflict if one is resumed."""
    for deletion in (DELETE_CONVERSATIONS, *DELETE_BUDGETS):
        yield Batch(deletion, some)
    for statement in ERRORS_TO_STRIP:
        bare = tuple(
            {"given_id": one, "workspace": of, "new_error": without_message(error)}
            for one, of, error in (yield Batch(statement, some))
        )
        if bare:
            yield Batch(STRIP_ERROR, bare)
    for statement in reversed(PURGE_EXECUTIONS):  # what was called before its callers
        yield Batch(statement, some)
    if (yield Batch(LIVE[1], some)):  # since the first look: its row was not locked by then
        raise Conflict("An agent that the conversation has called was resumed; try again.")
