"""Renders the core's values for the tasks room. Pure functions.

The room has no stream: its clients poll.
"""

from collections.abc import Iterable
from typing import Any, Final

from outlast.http.errors import Problem
from outlast.model.checkpoint import Checkpoint
from outlast.model.clock import iso, iso_or_none
from outlast.model.execution import Status
from outlast.rooms.tasks.schemas import (
    CheckpointObject,
    CreateTaskBody,
    StatusWord,
    TaskAnswer,
    TaskError,
)
from outlast.services.executions import Idempotency
from outlast.services.tasks import NewTask, TaskView

STATUS_WORDS: Final[dict[Status, StatusWord]] = {
    Status.QUEUED: "running",
    Status.RUNNING: "running",
    Status.SUSPENDED: "paused",
    Status.PAUSED: "paused",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "terminated",
}

_FIELDS: Final = {"checkpointId": "checkpoint_id"}
"""This room's names of fields in the core's errors."""


def create_request(
    body: CreateTaskBody, config: dict[str, Any] | None, idempotency: Idempotency | None
) -> NewTask:
    """Return the body as a request; `config` as it was sent, unknown keys included."""
    return NewTask(
        body.name,
        body.description or "",
        body.task_type or "",
        body.agent_id,
        body.input,
        body.state or {},
        config or {},
        idempotency,
    )


def task(view: TaskView) -> TaskAnswer:
    """Return a task with exactly the fields of the contract."""
    execution, kept = view.execution, view.task
    return {
        "data": {
            "id": execution.id,
            "name": kept.name,
            "description": kept.description,
            "agent_id": execution.agent_id,
            "task_type": kept.task_type,
            "status": STATUS_WORDS[execution.shown_status],
            "state": execution.state,
            "checkpoints": list(_checkpoints(view.checkpoints, kept.first_state)),
            "config": kept.config,
            "elapsed_seconds": execution.active_by(view.now) // 1000,
            "started_at": iso(execution.started_at or execution.created_at),
            "completed_at": iso_or_none(execution.completed_at),
            "updated_at": iso(execution.updated_at),
        }
    }


def _checkpoints(
    found: Iterable[Checkpoint], first_state: dict[str, Any]
) -> Iterable[CheckpointObject]:
    """Return the checkpoints, oldest first, each with its state or the previous one's."""
    standing = superseded = first_state
    for checkpoint in found:
        state = superseded if checkpoint.superseded else standing
        state = state if checkpoint.state is None else checkpoint.state
        superseded = state
        if not checkpoint.superseded:
            standing = state
        shown: CheckpointObject = {
            "id": checkpoint.id,
            "label": checkpoint.label,
            "state": state,
            "timestamp": iso(checkpoint.at),
            "superseded": checkpoint.superseded,
        }
        if checkpoint.memory:
            shown["memory_writes"] = [
                {
                    "store_id": one.store_id,
                    "item_id": one.item_id,
                    "key": one.key,
                    "version": one.version,
                    "deleted": one.deleted,
                }
                for one in checkpoint.memory
            ]
        yield shown


def error(problem: Problem, request_id: str) -> TaskError:
    """Return an error in this room's shape."""
    param = problem.param
    return {
        "error": {
            "code": problem.code,
            "message": problem.message,
            "details": {} if param is None else {"param": _FIELDS.get(param, param)},
            "status": problem.status,
            "request_id": request_id,
        }
    }
