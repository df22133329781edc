"""The executions room's stream: a fold over the log, entry by entry, into SSE frames.

A frame's bytes depend only on the log up to its entry, so live equals replay, and a client that
reconnects gets the same fold without the frames that it has. The last frame holds the whole
execution, built from the log alone.
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any, Final, TypeAlias

import orjson
from starlette.responses import Response

from outlast.folding.snapshot import Snapshot
from outlast.http.call import Call
from outlast.http.image import images_of
from outlast.http.sse import EventStream, frame
from outlast.model.client_call import ClientCallAnswered, ClientCallRequested
from outlast.model.event import (
    START,
    ApprovalRequested,
    ApprovalResolved,
    ChildFinished,
    ChildStarted,
    Cursor,
    DataEmitted,
    Entry,
    Event,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionCreated,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionReleased,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionSuspended,
    ModelFinished,
    StepRetried,
    TextAdded,
    ThinkingAdded,
    ToolDeferred,
    ToolFinished,
    ToolStarted,
)
from outlast.rooms.executions import answers, render
from outlast.services.all import Services

Log: TypeAlias = AsyncGenerator[list[Entry], None]

FRAME_TYPES: Final = (
    "start",
    "text_delta",
    "thinking",
    "tool_call_start",
    "tool_call_end",
    "child_started",
    "child_finished",
    "approval_requested",
    "approval_resolved",
    "client_call_requested",
    "input_requested",
    "client_call_answered",
    "retry",
    "custom",
    "paused",
    "resumed",
    "done",
    "error",
)
"""Every `type` that a frame may have."""


class Fold:
    """Folds log entries into frames; `after` is the client's cursor."""

    def __init__(self, execution_id: str, after: Cursor = START) -> None:
        self._snapshot = Snapshot(execution_id)
        self._after = after

    def frames(self, entries: Iterable[Entry]) -> bytes:
        """Return the frames of the next entries, which are single pieces, from the log's start."""
        return b"".join([self._frame(entry) for entry in entries])

    def _frame(self, entry: Entry) -> bytes:
        data = self.data(entry)
        return b"" if data is None else frame(str(entry.cursor), orjson.dumps(data))

    def data(self, entry: Entry) -> dict[str, Any] | None:
        """Return the frame of the next entry; None if it has none, or the client has it."""
        self._snapshot.add(entry)
        known = (entry.segment, entry.seq) <= self._after
        return None if known else self._data(entry.event)

    def _data(self, event: Event) -> dict[str, Any] | None:  # noqa: PLR0911 - one answer per kind
        match event:
            case TextAdded(pieces=pieces):
                return {"type": "text_delta", "text": "".join(pieces)}
            case ThinkingAdded(pieces=pieces):
                return {"type": "thinking", "text": "".join(pieces)}
            case ExecutionCreated(conversation_id=conversation_id):
                return {
                    "type": "start",
                    "executionId": self._snapshot.id,
                    "conversationId": conversation_id,
                }
            case (
                ToolStarted()
                | ToolFinished()
                | ChildStarted()
                | ChildFinished()
                | ApprovalRequested()
                | ApprovalResolved()
                | ClientCallRequested()
                | ClientCallAnswered()
            ):
                return _call_data(event)
            case StepRetried(step=step):
                return {"type": "retry", "step": step}
            case DataEmitted(name=name, data=data):
                return {"type": "custom", "name": name, "data": data}
            case ExecutionPaused(reason=reason):
                return {"type": "paused", "reason": reason}
            case ExecutionResumed():
                return {
                    "type": "resumed",
                    "checkpointId": event.checkpoint_id,
                    "step": event.step,
                    "behind": str(self._snapshot.stands),
                }
            case ExecutionCompleted() | ExecutionCancelled():
                execution = self._execution()
                return {"type": "done", "usage": execution["usage"], "execution": execution}
            case ExecutionFailed(code=code, message=message):
                execution = self._execution()
                return {"type": "error", "message": message, "code": code, "execution": execution}
            case (
                ExecutionStarted()
                | ModelFinished()
                | ToolDeferred()
                | ExecutionSuspended()
                | ExecutionReleased()
            ):
                return None

    def _execution(self) -> answers.Execution:
        gathered = self._snapshot
        calls = render.tool_calls(gathered.tool_steps)
        execution = gathered.execution()
        return render.execution_of(execution, gathered.agent, calls, spent=gathered.spent)


def _child_data(event: ChildStarted | ChildFinished) -> dict[str, Any]:
    shown = {"toolCallId": event.tool_call_id, "executionId": event.execution_id}
    if isinstance(event, ChildStarted):
        return {"type": "child_started", **shown, "agent": event.agent}
    return {"type": "child_finished", **shown, "status": event.status}


def _call_data(
    event: ToolStarted
    | ToolFinished
    | ChildStarted
    | ChildFinished
    | ApprovalRequested
    | ApprovalResolved
    | ClientCallRequested
    | ClientCallAnswered,
) -> dict[str, Any]:
    match event:
        case ClientCallRequested() | ClientCallAnswered():
            return _client_data(event)
        case ToolStarted():
            return {
                "type": "tool_call_start",
                "id": event.tool_call_id,
                "name": event.name,
                "parameters": event.parameters,
            }
        case ToolFinished():
            return {
                "type": "tool_call_end",
                "id": event.tool_call_id,
                "name": event.name,
                "result": event.result,
                "isError": event.is_error,
                **({"images": images_of(event.images)} if event.images else {}),
            } | _below(event)
        case ChildStarted() | ChildFinished():
            return _child_data(event)
        case ApprovalRequested():
            return {
                "type": "approval_requested",
                "toolCallId": event.tool_call_id,
                "name": event.name,
                "parameters": event.parameters,
                "kind": event.approval_kind,
            } | _below(event)
        case ApprovalResolved():
            return {
                "type": "approval_resolved",
                "toolCallId": event.tool_call_id,
                "approved": event.approved,
                "reason": event.reason,
                "parameters": event.parameters,
                "decidedBy": event.decided_by,
            } | _below(event)


def _client_data(event: ClientCallRequested | ClientCallAnswered) -> dict[str, Any]:
    if isinstance(event, ClientCallRequested) and event.input is not None:
        return {
            "type": "input_requested",
            "toolCallId": event.tool_call_id,
            "name": event.name,
            "parameters": event.parameters,
            "questions": event.input,
        } | _below(event)
    if isinstance(event, ClientCallRequested):
        return {
            "type": "client_call_requested",
            "toolCallId": event.tool_call_id,
            "name": event.name,
            "parameters": event.parameters,
        } | _below(event)
    return {
        "type": "client_call_answered",
        "toolCallId": event.tool_call_id,
        "isError": event.is_error,
        "reason": event.reason,
        "decidedBy": event.decided_by,
    } | _below(event)


def _below(
    event: ToolFinished
    | ApprovalRequested
    | ApprovalResolved
    | ClientCallRequested
    | ClientCallAnswered,
) -> dict[str, Any]:
    """Return the id of the child whose call it is; nothing for an own call."""
    return {} if event.execution_id is None else {"executionId": event.execution_id}


# --- the answer


def stream_of(
    call: Call,
    services: Services,
    execution_id: str,
    *,
    after: Cursor = START,
    log: Log | None = None,
) -> Response:
    """Return the execution's log as frames, from its start or after a cursor, then live.

    log: the same log from its start, if it is already followed.
    """
    principal = call.principal

    def again() -> AsyncGenerator[bytes, None]:
        follow = services.executions.follow(principal, execution_id)
        return _frames(Fold(execution_id, after), follow)

    first = again() if log is None else _frames(Fold(execution_id, after), log)
    headers = {"X-Execution-Id": execution_id}
    return EventStream(first, call.streams, headers, again)


async def _frames(fold: Fold, log: Log) -> AsyncGenerator[bytes, None]:
    async with aclosing(log) as batches:
        async for entries in batches:
            yield fold.frames(entries)
