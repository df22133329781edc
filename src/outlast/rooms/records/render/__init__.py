"""Renders the core's values for the records room. Pure functions.

The room has no stream: its clients poll.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import orjson

from outlast.http.errors import Problem
from outlast.model.agent import shown_model
from outlast.model.clock import iso, iso_or_none
from outlast.model.execution import Execution, Failure, ModelStep, Status, ToolStep
from outlast.model.ids import to_uuid4
from outlast.model.price import credits_of
from outlast.model.record import ClosedRecord, ExecutionRecord, StepRecord, Tree
from outlast.model.record import Record as CoreRecord
from outlast.model.usage import Usage
from outlast.rooms.records.render.feedback import feedback
from outlast.rooms.records.schemas import (
    AgentDetail,
    ModelDetail,
    NestedRecord,
    Record,
    RecordError,
    RecordFailure,
    RecordUsage,
    StatusWord,
    ToolDetail,
)

STATUS_WORDS: Final[dict[Status, StatusWord]] = {
    Status.QUEUED: "queued",
    Status.RUNNING: "running",
    Status.SUSPENDED: "waiting",
    Status.PAUSED: "paused",
    Status.COMPLETED: "completed",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}
_CUT_OFF: Final[dict[str, StatusWord]] = {"cancelled": "cancelled", "error": "failed"}
"""Status by finish reason of incomplete answers."""
CLOSED: Final = "paused"
"""Finish reason of a request aborted by a pause."""


def record(found: CoreRecord) -> Record:
    """Return a record with exactly the fields of the contract."""
    match found:
        case ExecutionRecord():
            return _execution(found)
        case StepRecord():
            return _step(found)
        case ClosedRecord():
            return _closed(found)


def nested(tree: Tree) -> NestedRecord:
    """Return a record with those under it."""
    return {**record(tree.record), "children": [nested(child) for child in tree.children]}


class NestedWriter:
    """Writes the JSON of `nested` record by record, each before those under it."""

    def __init__(self) -> None:
        self._ready: list[bytes] = []
        self._is_first = True

    def add(self, found: CoreRecord | None) -> int:
        """Open a record, or with None close the last open one; return how many bytes that is."""
        if found is None:
            self._ready.append(b"]}")
            self._is_first = False
            return 2
        before = b"" if self._is_first else b","
        shown = before + orjson.dumps(record(found))[:-1] + b',"children":['
        self._ready.append(shown)
        self._is_first = True
        return len(shown)

    def taken(self) -> bytes:
        """Return what has been written since the last call."""
        ready, self._ready = self._ready, []
        return b"".join(ready)


def _execution(found: ExecutionRecord) -> Record:
    row = found.execution
    return {
        "createdAt": iso(row.created_at),
        "id": uuid(row.id),
        "updatedAt": iso(row.updated_at),
        "creditsUsed": credits_of(found.credits),
        "detail": _agent(row, found.truncated),
        "endedAt": iso_or_none(row.completed_at),
        "isAgentic": True,
        "isPurged": row.is_purged,
        "parentId": None if row.parent_id is None else uuid(row.parent_id),
        "responderId": uuid(row.agent_id),
        "startedAt": iso(row.created_at if row.started_at is None else row.started_at),
        "status": STATUS_WORDS[row.shown_status],
        "workspaceId": uuid(row.workspace_id),
    }


def _agent(row: Execution, truncated: Sequence[str]) -> AgentDetail:
    detail: AgentDetail = {
        "type": "agent",
        "input": row.input,
        "output": row.output,
        "model": row.final_model and shown_model(row.final_model),
        "usage": usage(row.usage),
        "error": _failure(row.error),
    }
    if row.user is not None:
        detail["user"] = row.user
    if cut := [name for name in truncated if name in detail]:
        detail["truncated"] = cut
    return detail


def _failure(failure: Failure | None) -> RecordFailure | None:
    if failure is None:
        return None
    return {"type": failure.type, "code": failure.code, "message": failure.message}


def _step(found: StepRecord) -> Record:
    step, superseded = found.step, found.superseded
    times = (step.started_at, step.ended_at)
    match step:
        case ModelStep():
            model = _model(step.model, step.usage, step.finish_reason, superseded=superseded)
            status = _CUT_OFF.get(step.finish_reason, "completed")
            return _part(found, step.id, model, status, times)
        case ToolStep():
            tool = _tool(step, superseded=superseded)
            return _part(found, step.id, tool, "failed" if step.is_error else "completed", times)


def _model(name: str, used: Usage, reason: str, *, superseded: bool) -> ModelDetail:
    return {
        "type": "model",
        "model": shown_model(name),
        "usage": usage(used),
        "finishReason": reason,
        "superseded": superseded,
    }


def _tool(step: ToolStep, *, superseded: bool) -> ToolDetail:
    return {
        "type": "tool",
        "toolName": step.call.name,
        "toolCallId": uuid(step.call.id),
        "input": step.call.parameters,
        "output": None if step.is_error else step.result,
        "error": step.result if step.is_error else None,
        "superseded": superseded,
    }


def _closed(found: ClosedRecord) -> Record:
    charge = found.charge
    detail = _model(charge.name, charge.usage, CLOSED, superseded=True)
    return _part(found, charge.id, detail, "cancelled", (charge.at, charge.at))


def _part(
    found: StepRecord | ClosedRecord,
    step_id: str,
    detail: ModelDetail | ToolDetail,
    status: StatusWord,
    times: tuple[int, int],
) -> Record:
    """Return a record below an execution, which began and ended at these times."""
    row = found.execution
    began, ended = map(iso, times)
    return {
        "createdAt": began,
        "id": uuid(step_id),
        "updatedAt": ended,
        "creditsUsed": credits_of(found.credits),
        "detail": detail,
        "endedAt": ended,
        "isAgentic": False,
        "isPurged": row.is_purged,
        "parentId": uuid(row.id),
        "responderId": uuid(row.agent_id),
        "startedAt": began,
        "status": status,
        "workspaceId": uuid(row.workspace_id),
    }


@lru_cache(maxsize=4096)
def uuid(typeid: str) -> str:
    """Return an id in this room's form. Cached: a page has few workspaces and agents."""
    return str(to_uuid4(typeid))


def usage(found: Usage) -> RecordUsage:
    """Return the tokens."""
    return {
        "inputTokens": found.input_tokens,
        "outputTokens": found.output_tokens,
        "totalTokens": found.total_tokens,
        "cacheReadTokens": found.cache_read_tokens,
        "cacheWriteTokens": found.cache_write_tokens,
        "estimated": found.estimated,
    }


def error(problem: Problem, _request_id: str) -> RecordError:
    """Return an error in this room's shape; the request's id is in the response's header."""
    shown, action = feedback(problem)
    return {
        "code": problem.code,
        "name": "".join(part.capitalize() for part in problem.type.split("_")),
        "message": problem.message,
        "feedback": shown,
        "cta": action,
    }
