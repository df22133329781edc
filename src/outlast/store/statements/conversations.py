"""Statements on conversations and their turns."""

from typing import Final

from sqlalchemy import bindparam, delete, null, select, text, update

from outlast.store.approvals.rows import approvals
from outlast.store.checkpoints import checkpoints
from outlast.store.driver import Statement
from outlast.store.executions.steps import STEP_COLUMNS
from outlast.store.executions.tables import events, execution_metadata, executions, steps
from outlast.store.idempotency import idempotency
from outlast.store.keys import workspaces
from outlast.store.tasks.rows import tasks

LOCK_CHATS: Final = Statement(
    select(workspaces.c.id)
    .where(workspaces.c.id == bindparam("workspace"))
    .with_for_update(key_share=True)
)
"""Executions and agents of the workspace are made meanwhile; it is locked before them."""

CONVERSATION_OF_CHAT: Final = Statement(
    select(executions.c.conversation_id, executions.c.is_purged)
    .where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.chat_id == bindparam("chat_id"),
    )
    .order_by(executions.c.id.desc())
    .limit(1)
)
"""Where the newest execution of a chat is, and whether its content is gone."""


PURGE_CONTENT: Final = tuple(
    Statement(delete(table).where(table.c.execution_id == bindparam("id")))
    for table in (events, checkpoints, approvals, idempotency, tasks, execution_metadata)
)
"""Everything that was said, gone from every table that is made for it; steps stay, stripped."""

ERRORS_TO_STRIP: Final = Statement(
    select(executions.c.id, executions.c.error).where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.error.is_not(None),
    )
)

PURGING: Final = Statement(
    select(executions.c.id)
    .where(text("purging"))
    .order_by(executions.c.id)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
"""All workspaces: deleted conversations of whose turns something is left in other tables.

Two processes that purge at once take different ones.
"""

PURGED: Final = Statement(
    update(executions).where(executions.c.id == bindparam("given_id")).values(purging=False)
)

STEPS_TO_STRIP: Final = Statement(
    select(steps.c.number, steps.c.kind, steps.c.data).where(
        steps.c.execution_id == bindparam("id")
    )
)
"""Superseded ones too; the execution was reached through its workspace."""

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

PURGE_EXECUTIONS: Final = Statement(
    update(executions)
    .where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
    )
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
"""The records stay, without what was said."""


TURNS: Final = Statement(
    select(*executions.c)
    .where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.turn >= bindparam("since"),
        executions.c.turn < bindparam("before"),
        executions.c.superseded.is_(False),
    )
    .order_by(executions.c.turn)
)

TURN_STAMPS: Final = Statement(
    select(
        executions.c.id,
        executions.c.turn,
        executions.c.status,
        executions.c.segment,
        executions.c.steps,
        executions.c.updated_at,
        executions.c.is_purged,
    )
    .where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.turn < bindparam("before"),
        executions.c.superseded.is_(False),
    )
    .order_by(executions.c.turn)
)
"""Which turns there are, and what tells that one has changed; nothing of what was said."""

TURNS_STEPS: Final = Statement(
    select(*STEP_COLUMNS)
    .join(executions, executions.c.id == steps.c.execution_id)
    .where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.turn >= bindparam("since"),
        executions.c.turn < bindparam("before"),
        executions.c.superseded.is_(False),
        steps.c.superseded.is_(False),
    )
    .order_by(executions.c.turn, steps.c.number)
)

_standing: Final = select(*executions.c).where(
    executions.c.workspace_id == bindparam("workspace"),
    executions.c.conversation_id == bindparam("conversation"),
    executions.c.superseded.is_(False),
)

TURN_OF_MESSAGE: Final = Statement(
    _standing.where(executions.c.message_id == bindparam("message"))
    .order_by(executions.c.turn)
    .limit(1)
)
"""The turn that stands for the client's message of this id; it has a partial index."""

NEWEST_TURN: Final = Statement(_standing.order_by(executions.c.id.desc()).limit(1))
"""By the clocks of many hosts: whoever asks compares its turn with the conversation's count."""

SUPERSEDE_TURNS: Final = Statement(
    update(executions)
    .where(
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.conversation_id == bindparam("conversation"),
        executions.c.turn >= bindparam("given_turn"),
        executions.c.superseded.is_(False),
    )
    .values(superseded=True)
)
"""A turn and all behind it are shown to no model any more; their rows move in nothing else."""
