"""Tasks: calls that a server works on by itself, and whose results are polled (SEP-2663).

    tools/call ──► a task ──► its id is recorded at once ──► tasks/get … ──► the call's result

Whoever has the id finds the result, so after a crash the call goes on and is not made again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import mcp_types
from mcp.client import ClaimContext, ClientExtension, ResultClaim
from pydantic import TypeAdapter

RAW: Final[TypeAdapter[Any]] = TypeAdapter(dict[str, Any])
"""A result as it came: what it is, is decided by its tag."""
_CALLED: Final[TypeAdapter[mcp_types.CallToolResult | mcp_types.InputRequiredResult]] = TypeAdapter(
    mcp_types.CallToolResult | mcp_types.InputRequiredResult
)
_EXTENSION: Final = "io.modelcontextprotocol/tasks"
_SHORTEST, _DEFAULT, _LONGEST = 0.05, 1.0, 60.0
"""Seconds between two looks, if the server names fewer, none or more."""


class _TaskResult(mcp_types.Result):
    result_type: Literal["task"] = "task"


class Tasks(ClientExtension):
    """Announces that a call may be answered with a task."""

    identifier = _EXTENSION

    def claims(self) -> Sequence[ResultClaim[Any]]:
        return [ResultClaim(result_type="task", model=_TaskResult, resolve=_resolve)]


async def _resolve(_result: _TaskResult, _context: ClaimContext) -> mcp_types.CallToolResult:
    raise AssertionError("results are read here")


class GetTask(mcp_types.GetTaskRequest):
    """Requests a task; its id is a header too."""

    name_param: ClassVar[str | None] = "taskId"


class CancelTask(mcp_types.CancelTaskRequest):
    """Requests the end of a task; its id is a header too."""

    name_param: ClassVar[str | None] = "taskId"


class UpdateTaskParams(mcp_types.RequestParams):
    """The input that a task has requested."""

    task_id: str
    input_responses: mcp_types.InputResponses


class UpdateTask(mcp_types.Request[UpdateTaskParams, Literal["tasks/update"]]):
    """Gives a task its input; its id is a header too."""

    name_param: ClassVar[str | None] = "taskId"
    method: Literal["tasks/update"] = "tasks/update"
    params: UpdateTaskParams


REQUESTS: Final[TypeAdapter[mcp_types.InputRequests]] = TypeAdapter(mcp_types.InputRequests)
"""What a task requests."""

Called = mcp_types.CallToolResult | mcp_types.InputRequiredResult


@dataclass(frozen=True, slots=True)
class Task:
    """A task that a server has made of a call."""

    id: str
    seconds: float = _DEFAULT
    """Until it is looked at next."""

    def handle(self) -> dict[str, Any]:
        """Return what finds it again."""
        return {"task": self.id}


def read(raw: Mapping[str, Any]) -> Called | Task:
    """Return the answer to a call. Raises ValidationError, ValueError."""
    if raw.get("resultType") != "task":
        return _CALLED.validate_python(raw, by_name=False)
    task = raw.get("taskId")
    if not isinstance(task, str) or not task:
        raise ValueError("a task without an id")
    return Task(task, poll_seconds(raw))


def poll_seconds(raw: Mapping[str, Any]) -> float:
    """Return how long to wait before a task is looked at next."""
    millis = raw.get("pollIntervalMs")
    if not isinstance(millis, int | float):
        return _DEFAULT
    return min(max(millis / 1000, _SHORTEST), _LONGEST)
