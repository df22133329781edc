"""Statements that pause, resume from a checkpoint, and delete an execution."""

from typing import Final

from sqlalchemy import bindparam, delete, insert, literal_column, select, update

from outlast.store.driver import Statement
from outlast.store.executions.statements import OWNED
from outlast.store.executions.tables import events, execution_metadata, executions, steps
from outlast.store.idempotency import idempotency
from outlast.store.schema import approvals, checkpoints, conversations, tasks

LOCK_TURNS: Final = Statement(
    select(conversations.c.id)
    .where(
        conversations.c.id == bindparam("conversation"),
        conversations.c.workspace_id == bindparam("workspace"),
    )
    .with_for_update()
)
"""No turn is added, ended or resumed until this transaction ends."""


INSERT_CHECKPOINT: Final = Statement(insert(checkpoints))

CHECKPOINTS: Final = Statement(
    select(*checkpoints.c).where(checkpoints.c.execution_id == OWNED).order_by(checkpoints.c.id)
)

SUPERSEDE_CHECKPOINT: Final = Statement(
    update(checkpoints)
    .where(checkpoints.c.execution_id == bindparam("given_id"), checkpoints.c.id == bindparam("cp"))
    .values(superseded=literal_column("true"))
)


DELETE_CONTENT: Final = tuple(
    Statement(delete(table).where(table.c.execution_id == bindparam("id")))
    for table in (
        events,
        steps,
        checkpoints,
        approvals,
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
"""A conversation that has lost its last turn is gone too."""
