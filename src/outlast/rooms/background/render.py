"""Renders the core's values for the background room. Pure functions.

The room has no stream: its clients poll.
"""

from collections.abc import Callable, Sequence
from typing import Final

from outlast.model.agent import shown_model
from outlast.model.clock import iso, iso_or_none
from outlast.model.execution import NO_BROWSER, Execution, Status
from outlast.rooms.background.schemas import Accepted, Event, EventPage, StatusWord, to_token
from outlast.services.lists import Listed

STATUS_WORDS: Final[dict[Status, StatusWord]] = {
    Status.QUEUED: "PENDING",
    Status.RUNNING: "RUNNING",
    Status.SUSPENDED: "RUNNING",
    Status.PAUSED: "RUNNING",
    Status.COMPLETED: "COMPLETED",
    Status.FAILED: "FAILED",
    Status.CANCELLED: "FAILED",
}


def statuses(word: StatusWord | None) -> tuple[Status, ...]:
    """Return the core's statuses for this room's; None if none is given."""
    return tuple(status for status, written in STATUS_WORDS.items() if written == word)


def accepted(execution: Execution) -> Accepted:
    """Return the response to a run without a body."""
    return {
        "data": {
            "message": "Execution started. Poll events for status.",
            "requestId": execution.id,
            "agentId": execution.agent_id,
        }
    }


def event(execution: Execution) -> Event:
    """Return one execution as an event."""
    browser = execution.browser or NO_BROWSER
    return {
        "id": execution.id,
        "requestId": execution.id,
        "agentId": execution.agent_id,
        "userId": execution.workspace_id,
        "status": STATUS_WORDS[execution.shown_status],
        "detail": execution.shown_status.value,
        "output": execution.output,
        "error": _error(execution),
        "finalModel": execution.final_model and shown_model(execution.final_model),
        "browserStepCount": browser.steps,
        "browserSessionSeconds": browser.seconds,
        "startedAt": iso_or_none(execution.started_at),
        "completedAt": iso_or_none(execution.completed_at),
        "createdAt": iso(execution.created_at),
        "updatedAt": iso(execution.updated_at),
    }


def _error(execution: Execution) -> str | None:
    if execution.status is Status.CANCELLED:
        return "cancelled"
    return None if execution.error is None else execution.error.message


def page(found: Sequence[Listed], link: Callable[[str], str], *, more: bool) -> EventPage:
    """Return a page of events."""
    return {
        "data": [_listed(one, link) for one in found],
        "nextToken": to_token(found[-1].execution.id) if more and found else None,
    }


def _listed(one: Listed, link: Callable[[str], str]) -> Event:
    """Return one event, marked if its output is cut."""
    shown = event(one.execution)
    if "output" in one.cut:
        url = link(f"/v1/executions/{one.execution.id}")
        shown["truncated"] = {"fields": ["output"], "url": url}
    return shown
