"""Renders what an execution awaits of people and of its client. Pure functions."""

from collections.abc import Iterable
from typing import Any, Final

from typing_extensions import TypedDict

from outlast.model import execution as core
from outlast.model.clock import iso_or_none
from outlast.model.execution import TERMINAL
from outlast.model.wait import Wait, WaitKind
from outlast.rooms.executions import answers
from outlast.rooms.executions.answers import (
    PendingApproval,
    PendingClientCall,
    PendingInput,
    Question,
)
from outlast.services.executions import ExecutionView


class _Below(TypedDict, total=False):
    executionId: str


KINDS: Final[dict[WaitKind, answers.ApprovalKind]] = {
    WaitKind.APPROVAL: "approval",
    WaitKind.UNKNOWN_OUTCOME: "unknown_outcome",
}
"""The waits that are approvals."""


def pending_approvals(row: core.Execution, approvals: Iterable[Wait]) -> list[PendingApproval]:
    """Return the open approvals of an execution, and of those below it."""
    return [
        {
            "toolCallId": approval.tool_call_id,
            "name": approval.name,
            "parameters": approval.arguments,
            "kind": KINDS[approval.kind],
            **_below(row, approval),
        }
        for approval in _open(row, approvals)
    ]


def pending_client_calls(view: ExecutionView) -> list[PendingClientCall]:
    """Return the calls that the client is to run."""
    calls = (wait for wait in view.client_calls if wait.request is None)
    return [
        {
            "toolCallId": wait.tool_call_id,
            "name": wait.name,
            "parameters": wait.arguments,
            "expiresAt": iso_or_none(wait.due_at),
            **_below(view.execution, wait),
        }
        for wait in _open(view.execution, calls)
    ]


def pending_inputs(view: ExecutionView) -> list[PendingInput]:
    """Return the calls that wait for a person's input, with what their servers ask."""
    row = view.execution
    return [
        {
            "toolCallId": wait.tool_call_id,
            "name": wait.name,
            "parameters": wait.arguments,
            "questions": questions(wait.request.shown()),
            "expiresAt": iso_or_none(wait.due_at),
            **_below(row, wait),
        }
        for wait in _open(row, view.client_calls)
        if wait.request is not None
    ]


def questions(shown: list[dict[str, Any]]) -> list[Question]:
    """Return the questions of a tool's server."""
    return [Question(**one) for one in shown]  # type: ignore[typeddict-item]


def _open(row: core.Execution, waits: Iterable[Wait]) -> list[Wait]:
    return [] if row.status in TERMINAL else [wait for wait in waits if wait.is_open]


def _below(row: core.Execution, wait: Wait) -> _Below:
    """Return the id of the execution below whose call it is; nothing for an own call."""
    return {} if wait.execution_id == row.id else {"executionId": wait.execution_id}
