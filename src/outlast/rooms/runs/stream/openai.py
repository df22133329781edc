"""`openai`: chat.completion.chunk frames, and `[DONE]` at the end.

Source of the format: https://platform.openai.com/docs/api-reference/chat-streaming. A tool call is
two frames of `delta.tool_calls`: the first has its index, id, type and name, the second its
arguments; indices count the calls of the whole run. What that format cannot express (results of
tools run by the server, approvals, edited arguments, a step that is run again) is a JSON string in
`delta.content`, one whole object per frame.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add
from typing import Any, Final

import orjson

from outlast.folding.tool_calls import CallEvent, Calls, Chunk
from outlast.folding.visible_steps import Shown, voided
from outlast.model.client_call import ClientCallAnswered, ClientCallRequested
from outlast.model.event import (
    ApprovalRequested,
    ApprovalResolved,
    ChildFinished,
    ChildStarted,
    DataEmitted,
    Ended,
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
from outlast.model.usage import NO_USAGE, Spent, Usage
from outlast.rooms.runs.stream.awaited import Awaited
from outlast.rooms.runs.stream.frames import numbered

CONTENT_TYPES: Final = (
    "tool-input-available",
    "tool-approval-request",
    "tool-approval-response",
    "data-input-request",
    "tool-output-available",
    "tool-output-error",
    "tool-output-denied",
    "step-retried",
    "data",
    "abort",
)
"""Every `type` that a JSON string in `delta.content` may have."""
_DONE: Final = b"[DONE]"
_REASONS: Final = frozenset({"stop", "length", "content_filter"})


class OpenAIFold:
    """Folds log entries into completion chunks."""

    def __init__(self, execution_id: str) -> None:
        self._id = execution_id
        self._calls = Calls()
        self._shown = Shown()
        self._created = 0
        self._agent = ""
        self._reason = "stop"
        self._usage: dict[int, Usage] = {}
        """Usage of the model requests that are not superseded, by step."""
        self._called: set[str] = set()
        """Ids of the calls shown that are not void."""
        self._awaited = Awaited()
        self._count = 0
        """Number of calls shown so far: the next one's index."""

    def frames(self, entry: Entry, index: int) -> Sequence[bytes]:
        self._shown.add(entry.event)
        self._awaited.add(entry.event)
        if isinstance(entry.event, ExecutionCreated):
            self._created, self._agent = entry.at // 1000, entry.event.agent_id
        return numbered(index, self._chunks(entry.event))

    def _chunks(self, event: Event) -> list[Chunk | bytes]:  # noqa: PLR0911 - one answer per kind
        match event:
            case TextAdded(pieces=pieces):
                return [self._chunk({"content": "".join(pieces)})]
            case ThinkingAdded(pieces=pieces):
                return [self._chunk({"reasoning_content": "".join(pieces)})]
            case ExecutionCreated():
                return [self._chunk({"role": "assistant", "content": ""})]
            case ModelFinished(finish_reason=reason):
                self._reason = reason if reason in _REASONS else "stop"
                self._usage[event.step] = event.usage
                return []
            case (
                ToolStarted()
                | ToolFinished()
                | ApprovalRequested()
                | ClientCallRequested()
                | ClientCallAnswered()
            ):
                return self._call(event)
            case ApprovalResolved():
                return [*self._as_content(_response(event)), *self._call(event)]
            case StepRetried(step=step):
                return self._as_content(_retried([step]))
            case DataEmitted(name=name, data=data):
                return self._as_content({"type": "data", "name": name, "data": data})
            case ExecutionSuspended() | ExecutionResumed():
                return self._rest_or_resume(event)
            case ExecutionCompleted() | ExecutionFailed() | ExecutionCancelled():
                return self._end(event)
            case (
                ChildStarted()
                | ChildFinished()
                | ExecutionStarted()
                | ToolDeferred()
                | ExecutionPaused()
                | ExecutionReleased()
            ):
                return []

    def _call(self, event: CallEvent) -> list[Chunk | bytes]:
        """Return the event's chunks: a call as a tool call, the rest (edited input too) as JSON."""
        made: list[Chunk | bytes] = []
        for chunk in self._calls.chunks(event):
            if chunk["type"] == "tool-input-available" and chunk["toolCallId"] not in self._called:
                made += self._tool_call(chunk)
            elif isinstance(event, ApprovalRequested) and chunk["type"] == "tool-approval-request":
                made += self._as_content(chunk | {"kind": event.approval_kind})
            else:
                made += self._as_content(chunk)
        return made

    def _tool_call(self, shown: Chunk) -> list[Chunk]:
        self._called.add(shown["toolCallId"])
        index, self._count = self._count, self._count + 1
        named = {"name": shown["toolName"], "arguments": ""}
        first = {"index": index, "id": shown["toolCallId"], "type": "function", "function": named}
        arguments = {"arguments": orjson.dumps(shown["input"]).decode()}
        return [
            self._chunk({"tool_calls": [first]}),
            self._chunk({"tool_calls": [{"index": index, "function": arguments}]}),
        ]

    def _rest_or_resume(self, event: ExecutionSuspended | ExecutionResumed) -> list[Chunk | bytes]:
        if isinstance(event, ExecutionSuspended):
            return [self._chunk({}, "tool_calls")] if self._awaited.client else []
        void = self._shown.void(event)
        self._called -= self._calls.forget(void)
        self._usage = {step: used for step, used in self._usage.items() if not event.voids(step)}
        return self._as_content(_retried(void)) if void else []

    def _end(self, event: Ended) -> list[Chunk | bytes]:
        match event:
            case ExecutionCompleted():
                return [self._last(event, self._reason), _DONE]
            case ExecutionCancelled():
                return [*self._as_content({"type": "abort"}), self._last(event, "stop"), _DONE]
            case ExecutionFailed(type=kind, code=code, message=message):
                error = {"message": message, "type": kind, "param": None, "code": code}
                return [self._last(event, "error") | {"error": error}, _DONE]

    def _as_content(self, *chunks: Chunk) -> list[Chunk | bytes]:
        return [self._chunk({"content": orjson.dumps(chunk).decode()}) for chunk in chunks]

    def _last(self, event: Ended, reason: str) -> Chunk:
        below = NO_USAGE if event.below is None else Spent.of(event.below).usage
        used = reduce(add, self._usage.values(), below)
        usage = {
            "prompt_tokens": used.input_tokens,
            "completion_tokens": used.output_tokens,
            "total_tokens": used.total_tokens,
        }
        return self._chunk({}, reason) | {"usage": usage}

    def _chunk(self, delta: dict[str, Any], reason: str | None = None) -> Chunk:
        return {
            "id": self._id,
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._agent,
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }


def _retried(steps: list[int]) -> Chunk:
    return {"type": "step-retried"} | voided(steps)


def _response(event: ApprovalResolved) -> Chunk:
    return {
        "type": "tool-approval-response",
        "approvalId": event.tool_call_id,
        "toolCallId": event.tool_call_id,
        "approved": event.approved,
        "reason": event.reason,
    }
