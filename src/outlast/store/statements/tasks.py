"""Statements on tasks; the execution's row is locked before a task's is written."""

from typing import Final

from sqlalchemy import bindparam, delete, insert, null, select, update

from outlast.store.driver import Statement
from outlast.store.schema import tasks

INSERT_TASK: Final = Statement(insert(tasks))

TASK: Final = Statement(
    select(*tasks.c).where(
        tasks.c.execution_id == bindparam("id"), tasks.c.workspace_id == bindparam("workspace")
    )
)

KEEP_TASK: Final = Statement(
    update(tasks)
    .where(
        tasks.c.execution_id == bindparam("given_id"),
        tasks.c.workspace_id == bindparam("workspace"),
    )
    .values(
        attempts=bindparam("new_attempts"),
        changed=bindparam("new_changed"),
        saved_at=bindparam("new_saved_at"),
        due_at=bindparam("new_due_at"),
    )
)
"""What changes in the life of a task."""

DUE_TASKS: Final = Statement(
    select(tasks.c.workspace_id, tasks.c.execution_id)
    .where(tasks.c.due_at.is_not(None), tasks.c.due_at <= bindparam("now"))
    .order_by(tasks.c.due_at)
    .limit(bindparam("limit"))
)
"""All workspaces: whoever sees it attends to it, once."""

FORGET_TASK: Final = Statement(
    delete(tasks).where(
        tasks.c.execution_id == bindparam("id"), tasks.c.workspace_id == bindparam("workspace")
    )
)
"""Its execution was deleted by code that knows no tasks."""

END_TASK: Final = Statement(
    update(tasks)
    .where(tasks.c.execution_id == bindparam("id"), tasks.c.workspace_id == bindparam("workspace"))
    .values(due_at=null())
)
"""Its execution has failed in a way that leaves nothing to be done."""
