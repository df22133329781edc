"""Tool calls as chunks of the AI SDK's UI message stream, used by both formats of the runs room.

`ui` writes each as a chunk of its own; `openai` writes a call's input as `delta.tool_calls` and the
rest as JSON strings in `delta.content`.
"""

from collections.abc import Iterable
from typing import Any, TypeAlias

import orjson

from outlast.model.client_call import ClientCallAnswered, ClientCallRequested
from outlast.model.event import (
    ApprovalRequested,
    ApprovalResolved,
    ToolFinished,
    ToolStarted,
)

CallEvent: TypeAlias = (
    ToolStarted
    | ToolFinished
    | ApprovalRequested
    | ApprovalResolved
    | ClientCallRequested
    | ClientCallAnswered
)
_Shown: TypeAlias = ToolStarted | ApprovalRequested | ClientCallRequested
Chunk: TypeAlias = dict[str, Any]


class Calls:
    """The calls of one execution that were shown."""

    def __init__(self) -> None:
        self._shown: dict[str, _Shown] = {}
        self._inputs: dict[str, dict[str, Any]] = {}
        self._denied: set[str] = set()

    def chunks(self, event: CallEvent) -> list[Chunk]:
        """Return an event's chunks. A call's approval has the id of the call."""
        match event:
            case ClientCallRequested(tool_call_id=call_id, input=list() as questions):
                return [*self._show(event, event.parameters), _input(call_id, questions)]
            case ToolStarted() | ClientCallRequested():
                return self._show(event, event.parameters)
            case ApprovalRequested(tool_call_id=call_id):
                self._denied.discard(call_id)
                request = {
                    "type": "tool-approval-request",
                    "approvalId": call_id,
                    "toolCallId": call_id,
                }
                return [*self._show(event, event.parameters), request]
            case ApprovalResolved():
                return self._resolve(event)
            case ClientCallAnswered():
                return [] if event.reason is None else [_error(event.tool_call_id, event.reason)]
            case ToolFinished(tool_call_id=call_id):
                return [] if call_id in self._denied else [_output(event)]

    def forget(self, steps: Iterable[int]) -> set[str]:
        """Forget the calls of these steps, which are void; they are shown again if repeated.

        Return their ids.
        """
        gone = set(steps)
        calls = {call_id for call_id, event in self._shown.items() if event.step in gone}
        for call_id in calls:
            del self._shown[call_id], self._inputs[call_id]
        return calls

    def _show(self, call: _Shown, parameters: dict[str, Any]) -> list[Chunk]:
        """Return the call's input, unless it was already shown like this."""
        call_id = call.tool_call_id
        if self._inputs.get(call_id) == parameters:
            return []
        self._shown[call_id], self._inputs[call_id] = call, parameters
        return [
            {
                "type": "tool-input-available",
                "toolCallId": call_id,
                "toolName": call.name,
                "input": parameters,
            }
        ]

    def _resolve(self, event: ApprovalResolved) -> list[Chunk]:
        call_id = event.tool_call_id
        if not event.approved:
            self._denied.add(call_id)
            return [{"type": "tool-output-denied", "toolCallId": call_id}]
        shown = self._shown.get(call_id)
        if shown is None or event.parameters is None:
            return []
        return self._show(shown, event.parameters)


def _input(call_id: str, questions: list[dict[str, Any]]) -> Chunk:
    return {
        "type": "data-input-request",
        "data": {"toolCallId": call_id, "questions": questions},
    }


def _output(event: ToolFinished) -> Chunk:
    if event.is_error:
        return _error(event.tool_call_id, event.result)
    return {
        "type": "tool-output-available",
        "toolCallId": event.tool_call_id,
        "output": event.result,
    }


def _error(call_id: str, error: Any) -> Chunk:
    return {"type": "tool-output-error", "toolCallId": call_id, "errorText": _text(error)}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
