"""Statements that pause, resume from a checkpoint, and delete an execution."""

from typing import Final

from sqlalchemy import bindparam, delete, insert, literal_column, null, select, update

from outlast.store.driver import Statement
from outlast.store.idempotency import idempotency
from outlast.store.schema import (
    approvals,
    checkpoints,
    conversations,
    events,
    execution_metadata,
    executions,
    steps,
    tasks,
)
from outlast.store.statements import OWNED

LOCK_TURNS: Final = Statement(
    select(conversations.c.id)
    .where(
        conversations.c.id == bindparam("conversation"),
        conversations.c.workspace_id == bindparam("workspace"),
    )
    .with_for_update()
)
"""No turn is added, ended or resumed until this transaction ends."""

LOCK_EXECUTION: Final = Statement(
    select(*executions.c)
    .where(executions.c.id == bindparam("id"), executions.c.workspace_id == bindparam("workspace"))
    .with_for_update()
)
"""It does not move until this transaction ends; LOCK_TURNS, where needed, comes first."""

REQUEST_PAUSE: Final = Statement(
    update(executions)
    .where(
        executions.c.id == bindparam("id"),
        executions.c.workspace_id == bindparam("workspace"),
        executions.c.completed_at.is_(None),
    )
    .values(pause_requested=bindparam("wish"))
)
"""Touches nothing else, so that it cannot disturb the segment that runs."""

PAUSE_REQUESTED: Final = Statement(
    select(executions.c.id, executions.c.pause_requested, executions.c.workspace_id).where(
        executions.c.pause_requested.is_not(None), executions.c.completed_at.is_(None)
    )
)
"""All workspaces: whoever runs one of them pauses it."""

RESUME_EXECUTION: Final = Statement(
    update(executions)
    .where(executions.c.id == bindparam("given_id"))
    .values(
        cancel_requested=literal_column("false"),
        pause_requested=null(),
        **{
            name: bindparam(f"new_{name}")
            for name in (
                "status",
                "waiting",
                "updated_at",
                "completed_at",
                "output",
                "error",
                "input_tokens",
                "output_tokens",
                "cache_read_tokens",
                "cache_write_tokens",
                "usage_estimated",
                "steps",
                "final_model",
                "tool_ms",
                "superseded_tokens",
                "superseded_to",
                "resumed_ms",
                "state",
                "segment",
                "active_since",
                "budget",
            )
        },
    )
)
"""The row is locked."""

SET_STATE: Final = Statement(
    update(executions)
    .where(executions.c.id == bindparam("given_id"))
    .values(state=bindparam("new_state"))
)
"""The row is locked."""

INSERT_CHECKPOINT: Final = Statement(insert(checkpoints))

CHECKPOINTS: Final = Statement(
    select(*checkpoints.c).where(checkpoints.c.execution_id == OWNED).order_by(checkpoints.c.id)
)

SUPERSEDE_CHECKPOINT: Final = Statement(
    update(checkpoints)
    .where(checkpoints.c.execution_id == bindparam("given_id"), checkpoints.c.id == bindparam("cp"))
    .values(superseded=literal_column("true"))
)

SUPERSEDE_STEP: Final = Statement(
    update(steps)
    .where(steps.c.execution_id == bindparam("given_id"), steps.c.number == bindparam("given"))
    .values(superseded=literal_column("true"))
)

LAST_EVENT: Final = Statement(
    select(events.c.kind, events.c.data)
    .where(events.c.execution_id == bindparam("id"))
    .order_by(events.c.seq.desc())
    .limit(1)
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
