"""Renders the core's values for the runs room. Pure functions."""

from typing import Final

from outlast.http.errors import Problem
from outlast.model.clock import iso
from outlast.model.execution import Execution, Status
from outlast.rooms.runs.schemas import Run, RunError, StatusWord

STATUS_WORDS: Final[dict[Status, StatusWord]] = {
    Status.QUEUED: "running",
    Status.RUNNING: "running",
    Status.SUSPENDED: "suspended",
    Status.PAUSED: "suspended",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "failed",
}


def run(execution: Execution) -> Run:
    """Return the run, in six fields."""
    return {
        "id": execution.id,
        "agentId": execution.agent_id,
        "conversationId": execution.conversation_id,
        "status": STATUS_WORDS[execution.shown_status],
        "createdAt": iso(execution.created_at),
        "updatedAt": iso(execution.updated_at),
    }


def error(problem: Problem, request_id: str) -> RunError:
    """Return `{"error": "…"}`; `X-Request-Id` is in the response's headers."""
    del request_id
    return {"error": problem.message}
