"""Pieces of transactions that keep a task beside its execution, whose row is locked."""

from dataclasses import replace
from typing import Any

import orjson

from outlast.model.checkpoint import Checkpoint
from outlast.model.execution import Execution, Status
from outlast.model.task import Task
from outlast.store.driver import Part, Query, Row
from outlast.store.executions.locks import set_state
from outlast.store.executions.statements import STATE
from outlast.store.scripts.rows import checkpoint_columns
from outlast.store.statements import checkpoints as checkpoint_sql
from outlast.store.statements import tasks as sql
from outlast.store.tables import to_json


def task_columns(task: Task) -> dict[str, Any]:
    """A task's row."""
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
    """Read all columns of `tasks` in the order of the schema."""
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
    """What is kept beside an execution; nothing where no task was asked for."""
    rows = yield Query(sql.TASK, {"id": execution_id, "workspace": workspace_id})
    return task_from(rows[0]) if rows else None


def keep(task: Task) -> Part[None]:
    """Write what has changed of a task."""
    yield Query(
        sql.KEEP_TASK,
        {
            "given_id": task.execution_id,
            "workspace": task.workspace_id,
            "new_attempts": task.attempts,
            "new_changed": task.changed,
            "new_saved_at": task.saved_at,
            "new_due_at": task.due_at,
        },
    )


def save(checkpoint: Checkpoint) -> Part[None]:
    """A checkpoint's state is the execution's from then on."""
    yield Query(checkpoint_sql.INSERT_CHECKPOINT, checkpoint_columns(checkpoint))
    if checkpoint.state is not None:
        yield from set_state(checkpoint.execution_id, checkpoint.state)


def with_state(checkpoint: Checkpoint) -> Part[Checkpoint]:
    """What its client drives has no steps to tell its state by: a checkpoint holds it."""
    ((state,),) = yield Query(STATE, {"id": checkpoint.execution_id})
    return replace(checkpoint, state={} if state is None else orjson.loads(state))


def moved(after: Execution, saved: Checkpoint | None) -> Part[None]:
    """Keep the task of an execution that was just moved, where it has one.

    A failure that leaves an attempt is due behind the backoff.
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
    """Keep the task of an execution that goes on; `again`: by itself, as its next attempt."""
    if task is None:
        return
    attempts = task.attempts + 1 if again else 1
    kept = replace(task, attempts=attempts, changed=False)
    yield from keep(replace(kept, due_at=kept.due(after)))
