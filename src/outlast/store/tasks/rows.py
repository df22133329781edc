"""Tasks: table, statements and rows. The execution is locked before its task is written."""

from dataclasses import replace
from typing import Any, Final

import orjson
from sqlalchemy import (
    Column,
    Index,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    null,
    select,
    text,
    update,
)

from outlast.model.checkpoint import Checkpoint
from outlast.model.execution import Execution, Status
from outlast.model.task import Task
from outlast.store.driver import Part, Query, Row, Statement
from outlast.store.tables import count, flag, identifier, json, metadata, time, to_json

tasks: Final = Table(
    "tasks",
    metadata,
    identifier("execution_id", primary_key=True),
    identifier("workspace_id"),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("task_type", Text, nullable=False),
    json("config"),
    json("first_state"),
    count("attempts"),
    flag("changed"),
    time("saved_at"),
    time("due_at", nullable=True),
    Index("ix_tasks_due_at", "due_at", sqlite_where=text("due_at IS NOT NULL")),
)
"""A task's data besides its execution's, whose row is locked whenever this one is written."""

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
"""Updates the columns that change during a task."""

DUE_TASKS: Final = Statement(
    select(tasks.c.workspace_id, tasks.c.execution_id)
    .where(tasks.c.due_at.is_not(None), tasks.c.due_at <= bindparam("now"))
    .order_by(tasks.c.due_at)
    .limit(bindparam("limit"))
)
"""Of all workspaces: each is processed once."""

FORGET_TASK: Final = Statement(
    delete(tasks).where(
        tasks.c.execution_id == bindparam("id"), tasks.c.workspace_id == bindparam("workspace")
    )
)
"""Deletes a task whose execution was deleted by a version without tasks."""

END_TASK: Final = Statement(
    update(tasks)
    .where(tasks.c.execution_id == bindparam("id"), tasks.c.workspace_id == bindparam("workspace"))
    .values(due_at=null())
)
"""Ends a task whose execution has failed for good."""


def task_columns(task: Task) -> dict[str, Any]:
    """Return a task's row."""
    return {
        "execution_id": task.execution_id,
        "workspace_id": task.workspace_id,
        "name": task.name,
        "description": task.description,
        "task_type": task.task_type,
        "config": to_json(task.config),
        "first_state": to_json(task.first_state),
        "attempts": task.attempts,
        "changed": task.changed,
        "saved_at": task.saved_at,
        "due_at": task.due_at,
    }


def task_from(row: Row) -> Task:
    """Return the task of all columns of `tasks`, in the order of the schema."""
    return Task(
        execution_id=row[0],
        workspace_id=row[1],
        name=row[2],
        description=row[3],
        task_type=row[4],
        config=orjson.loads(row[5]),
        first_state=orjson.loads(row[6]),
        attempts=row[7],
        changed=bool(row[8]),
        saved_at=row[9],
        due_at=row[10],
    )


def task_of(workspace_id: str, execution_id: str) -> Part[Task | None]:
    """Insert the task of a new execution, if one was requested."""
    rows = yield Query(TASK, {"id": execution_id, "workspace": workspace_id})
    return task_from(rows[0]) if rows else None


def keep(task: Task) -> Part[None]:
    """Update the changed columns of a task."""
    yield Query(
        KEEP_TASK,
        {
            "given_id": task.execution_id,
            "workspace": task.workspace_id,
            "new_attempts": task.attempts,
            "new_changed": task.changed,
            "new_saved_at": task.saved_at,
            "new_due_at": task.due_at,
        },
    )


def moved(after: Execution, saved: Checkpoint | None) -> Part[None]:
    """Update the task of an execution that was just moved, if it has one.

    After a failure that leaves an attempt it is due after the backoff.
    """
    task = yield from task_of(after.workspace_id, after.id)
    if task is None:
        return
    if saved is not None and saved.state is not None:
        task = replace(task, saved_at=saved.at, changed=False)
    due_at = task.due(after)
    if after.status is Status.FAILED and after.error and task.is_tried_again(after.error.code):
        due_at = after.updated_at + task.backoff_ms
    yield from keep(replace(task, due_at=due_at))


def resumed(task: Task | None, after: Execution, *, again: bool) -> Part[None]:
    """Update the task of a resumed execution; `again`: as its next automatic attempt."""
    if task is None:
        return
    attempts = task.attempts + 1 if again else 1
    kept = replace(task, attempts=attempts, changed=False)
    yield from keep(replace(kept, due_at=kept.due(after)))
