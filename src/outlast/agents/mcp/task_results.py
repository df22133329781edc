"""Results of calls that a server works on by itself: tasks are polled, given input, cancelled."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import mcp_types
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from outlast.agents.mcp.elicitation import input_responses, needed, not_given, unanswered
from outlast.agents.mcp.server import Target
from outlast.agents.mcp.shared import SharedServer
from outlast.agents.mcp.tasks import (
    RAW,
    REQUESTS,
    CancelTask,
    GetTask,
    Task,
    UpdateTask,
    UpdateTaskParams,
    poll_seconds,
)
from outlast.agents.port import ToolContext
from outlast.model.clock import Clock
from outlast.model.error import ToolFailed
from outlast.model.input_request import Answers
from outlast.model.text import shortened

_FAILURES: Final = 10
"""Looks in a row that may fail."""
_SECONDS: Final = 15.0
"""How long an answer about a task is waited for."""
_PAUSES: Final = (1.0, 5.0, 25.0)
"""Seconds before each further attempt to cancel a task, as while its server starts again."""
_DECIDED: Final = (
    mcp_types.INVALID_PARAMS,
    mcp_types.INVALID_REQUEST,
    mcp_types.METHOD_NOT_FOUND,
)
"""Refusals of a server that another attempt would not change."""
_UNKNOWN: Final = "It is not known whether the call had its effect."
_SHOWN: Final = 500


async def result_of_task(
    task: Task, target: Target, shared: SharedServer, clock: Clock, context: ToolContext
) -> mcp_types.CallToolResult:
    """Return the result once the server has it. Raises ToolFailed, and InputNeeded for input.

    Input that the context gives is sent until the task requests it no longer.
    """
    seconds, failures, answers = task.seconds, 0, dict[str, Any]()
    while True:
        await clock.sleep(seconds)
        try:
            if answers:
                await _give(task, shared, answers)
            raw = await _look(task, shared)
            failures, answers = 0, {}
        except MCPError as error:
            failures += 1
            if error.code == mcp_types.INVALID_PARAMS:
                raise _lost(target, "does not know the task of this call") from error
            if failures == _FAILURES:
                raise _lost(target, "does not say what has become of this call") from error
            continue
        except (ToolFailed, TimeoutError) as error:
            failures += 1
            if failures == _FAILURES:
                raise _lost(target, "does not say what has become of this call") from error
            continue
        except (ValidationError, ValueError, RuntimeError) as error:
            raise _lost(target, "answered with what is not valid MCP") from error
        if raw.get("status") == "input_required":
            answers = _answers(raw, target, context)
        elif (result := _ended(raw, target)) is not None:
            return result
        seconds = poll_seconds(raw)


async def cancel_task(task_id: str, shared: SharedServer, clock: Clock) -> None:
    """Have the server informed that a task's result is not wanted, in a few attempts.

    A command that does not run any more has no tasks. Raises the last attempt's error.
    """
    for pause in _PAUSES:
        try:
            await _cancel(task_id, shared)
        except (MCPError, ToolFailed, TimeoutError) as error:
            if isinstance(error, MCPError) and error.code in _DECIDED:
                raise
            await clock.sleep(pause)
        else:
            return
    await _cancel(task_id, shared)


async def _cancel(task_id: str, shared: SharedServer) -> None:
    if shared.target.url is None and not shared.connections:
        return
    request = CancelTask(params=mcp_types.CancelTaskRequestParams(task_id=task_id))
    async with asyncio.timeout(_SECONDS):
        connection = await shared.connected()
        async with connection.used() as session:
            await session.send_request(request, RAW)


async def _look(task: Task, shared: SharedServer) -> dict[str, Any]:
    request = GetTask(params=mcp_types.GetTaskRequestParams(task_id=task.id))
    async with asyncio.timeout(_SECONDS):
        connection = await shared.connected()
        async with connection.used() as session:
            found: dict[str, Any] = await session.send_request(request, RAW)
            return found


def _answers(raw: Mapping[str, Any], target: Target, context: ToolContext) -> Answers:
    """Return the answers to what a task requests. Raises InputNeeded if one is missing."""
    try:
        requests = REQUESTS.validate_python(raw.get("inputRequests") or {}, by_name=False)
    except ValidationError as error:
        raise _lost(target, "answered with what is not valid MCP") from error
    if not requests:
        raise not_given(target, shortened(str(raw.get("statusMessage") or ""), _SHOWN))
    new, given = unanswered(requests, context.given), context.given
    if new or given is None:
        raise needed(target, context, new, None, of_task=True)
    return {key: answer for key, answer in given.answers.items() if key in requests}


async def _give(task: Task, shared: SharedServer, answers: Answers) -> None:
    """Send a task the input that it requests."""
    params = UpdateTaskParams(task_id=task.id, input_responses=input_responses(answers))
    async with asyncio.timeout(_SECONDS):
        connection = await shared.connected()
        async with connection.used() as session:
            await session.send_request(UpdateTask(params=params), RAW)


def _ended(raw: Mapping[str, Any], target: Target) -> mcp_types.CallToolResult | None:
    """Return the result of a task that has ended; None if it goes on. Raises ToolFailed."""
    said = shortened(str(raw.get("statusMessage") or ""), _SHOWN)
    because = f": {said}" if said else ""
    match raw.get("status"):
        case "working":
            return None
        case "completed":
            try:
                return mcp_types.CallToolResult.model_validate(raw.get("result"), by_name=False)
            except ValidationError as error:
                raise ToolFailed(f"The task of {target.name} ended without a result.") from error
        case "failed":
            failure = raw.get("error")
            text = failure.get("message") if isinstance(failure, dict) else None
            shown = f": {shortened(str(text), _SHOWN)}" if text else because
            cause = f"The task of {target.name} failed."
            raise ToolFailed(f"{cause[:-1]}{shown}", cause=cause)
        case "cancelled":
            cause = f"{target.name} cancelled the task of this call."
            raise ToolFailed(f"{cause[:-1]}{because}. {_UNKNOWN}", cause=cause)
        case _:
            raise _lost(target, "answered with what is not valid MCP")


def _lost(target: Target, what: str) -> ToolFailed:
    return ToolFailed(f"The MCP server {target.name} {what}. {_UNKNOWN}")
