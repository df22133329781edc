"""Transactions that delete a conversation, and purge the content of its turns."""

from typing import Final

from sqlalchemy import bindparam, delete, literal_column, null, select, text, update

from outlast.model.error import Conflict, ConversationNotFound
from outlast.store.budgets.tables import DELETE_BUDGET
from outlast.store.checkpoints import checkpoints
from outlast.store.conversations.rows import DELETE_CONVERSATION, LOCK_CONVERSATION
from outlast.store.driver import Part, Query, Statement, Transaction, TransactionResult
from outlast.store.executions.rows import without_message
from outlast.store.executions.steps import without_content
from outlast.store.executions.tables import events, execution_metadata, executions, steps
from outlast.store.executions.turns import live_count
from outlast.store.idempotency import idempotency
from outlast.store.tasks.rows import tasks
from outlast.store.waits.rows import waits

PURGE_CONTENT: Final = tuple(
    Statement(delete(table).where(table.c.execution_id == bindparam("id")))
    for table in (events, checkpoints, waits, idempotency, tasks, execution_metadata)
)
"""Delete content from all tables that hold only content; steps stay, without content."""

_OWN: Final = (
    executions.c.workspace_id == bindparam("workspace"),
    executions.c.conversation_id == bindparam("conversation"),
)
_root: Final = executions.alias("root")
_BELOW: Final = (
    executions.c.root_id.in_(
        select(_root.c.id).where(
            _root.c.workspace_id == bindparam("workspace"),
            _root.c.conversation_id == bindparam("conversation"),
            _root.c.children > literal_column("0"),
        )
    ),
)
"""What the turns have called, on all levels: deleted with them."""
_OF_TREES: Final = (_OWN, _BELOW)

SOME_LIVE_BELOW: Final = Statement(
    select(executions.c.id)
    .where(*_BELOW, executions.c.completed_at.is_(None))
    .limit(literal_column("1"))
)

ERRORS_TO_STRIP: Final = tuple(
    Statement(
        select(executions.c.id, executions.c.error).where(*where, executions.c.error.is_not(None))
    )
    for where in _OF_TREES
)

PURGING: Final = Statement(
    select(executions.c.id)
    .where(text("purging"))
    .order_by(executions.c.id)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
"""Of all workspaces: deleted conversations whose turns have content left in other tables.

Two concurrent processes take different ones.
"""

PURGED: Final = Statement(
    update(executions).where(executions.c.id == bindparam("given_id")).values(purging=False)
)

STEPS_TO_STRIP: Final = Statement(
    select(steps.c.number, steps.c.kind, steps.c.data).where(
        steps.c.execution_id == bindparam("id")
    )
)
"""Steps to strip, superseded ones too; the execution was reached through its workspace."""

STRIP_STEP: Final = Statement(
    update(steps)
    .where(steps.c.execution_id == bindparam("given_id"), steps.c.number == bindparam("given"))
    .values(data=bindparam("new_data"))
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
            state=null(),
            end_user=null(),
            is_purged=True,
            purging=True,
            updated_at=bindparam("at"),
        )
    )
    for where in _OF_TREES
)
"""The records stay, without content."""


def delete_conversation(workspace_id: str, conversation_id: str, at: int) -> Transaction[None]:
    """Delete the conversation's row and mark its executions, which are hidden from then on.

    Their content in other tables is deleted by `purge`, in batches.
    """
    parameters = {"workspace": workspace_id, "conversation": conversation_id}
    rows = yield Query(LOCK_CONVERSATION, parameters)
    if not rows:
        raise ConversationNotFound
    if (yield from live_count(workspace_id, conversation_id, 1)):
        raise Conflict("The conversation has a live execution; cancel it first.")
    if (yield Query(SOME_LIVE_BELOW, parameters)):
        raise Conflict("An agent that the conversation has called is ending; try again.")
    yield Query(DELETE_CONVERSATION, parameters)
    for statement in DELETE_BUDGET:
        yield Query(statement, {"id": conversation_id})
    for statement in ERRORS_TO_STRIP:
        for execution_id, error in (yield Query(statement, parameters)):
            of_one = {"given_id": execution_id, "workspace": workspace_id}
            yield Query(STRIP_ERROR, of_one | {"new_error": without_message(error)})
    for statement in PURGE_EXECUTIONS:
        yield Query(statement, parameters | {"no_text": "", "no_object": "{}", "at": at})
    return TransactionResult(None, erased=True)


def purge(limit: int) -> Transaction[int]:
    """Delete the content of some executions of deleted conversations; return how many."""
    found = yield Query(PURGING, {"limit": limit})
    for (execution_id,) in found:
        for statement in PURGE_CONTENT:
            yield Query(statement, {"id": execution_id})
        yield from _strip_steps(execution_id)
        yield Query(PURGED, {"given_id": execution_id})
    return TransactionResult(len(found), erased=bool(found))


def _strip_steps(execution_id: str) -> Part[None]:
    """Remove the content of steps; their kind and usage stay."""
    for number, kind, data in (yield Query(STEPS_TO_STRIP, {"id": execution_id})):
        yield Query(
            STRIP_STEP,
            {"given_id": execution_id, "given": number, "new_data": without_content(kind, data)},
        )
