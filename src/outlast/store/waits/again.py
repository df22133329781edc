"""What the calls of an execution wait for once it is resumed or rolled back."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from outlast.model.execution import TERMINAL, Execution, Step, ToolStep
from outlast.model.steps import Calls
from outlast.model.wait import Wait, WaitKind
from outlast.store.driver import Part, Query
from outlast.store.waits.rows import (
    RECORD_WAIT,
    SUPERSEDE_WAIT,
    wait_columns,
)
from outlast.store.waits.store import waits_of


def wait_again(
    execution: Execution, kept: Sequence[Step], gone: Sequence[Step], calls: Calls, at: int
) -> Part[tuple[dict[str, Wait], list[str]]]:
    """Return the waits of the calls without a result; calls to be repeated wait again.

    `kept`: the steps that stand; `gone`: those to be superseded.

    A decision not yet applied stands. Others belong to answered calls and stand, or to superseded
    ones: return the ids of those calls too.
    """
    numbers = {call.id: number for number, call in calls}
    answered = {step.call.id for step in kept if isinstance(step, ToolStep)}
    void = {step.call.id for step in gone if isinstance(step, ToolStep)}
    waits: dict[str, Wait] = {}
    superseded: list[str] = []
    for found in (yield from waits_of(execution.workspace_id, execution.id)):
        of_call = {"id": execution.id, "tool_call": found.tool_call_id}
        if found.superseded or found.tool_call_id in answered:
            continue
        if found.tool_call_id not in numbers:
            yield Query(SUPERSEDE_WAIT, of_call)
            superseded.append(found.tool_call_id)
            continue
        again = replace(found, step=numbers[found.tool_call_id])
        if _is_lost(found, execution) and found.tool_call_id not in void:
            again = _reopened(replace(_approval_of(again), kind=WaitKind.UNKNOWN_OUTCOME), at)
        elif _starts_over(found, void):
            if found.request is None or not found.request.approved:
                yield Query(SUPERSEDE_WAIT, of_call)
                continue
            again = _reopened(_approval_of(again), at)
        else:
            again = _as_it_waits(again, found.tool_call_id in void, execution, at)
        waits[found.tool_call_id] = again
        if again != found:
            yield Query(RECORD_WAIT, wait_columns(execution.workspace_id, again))
    return waits, superseded


def _starts_over(found: Wait, void: Collection[str]) -> bool:
    """Whether a call that waits for input is made anew: the server holds it no longer."""
    return found.request is not None and (found.request.live or found.tool_call_id in void)


def _is_lost(found: Wait, execution: Execution) -> bool:
    """Whether the server was informed that a call is not wanted, and may have done a part of it."""
    return found.request is not None and found.request.of_task and execution.status in TERMINAL


def _as_it_waits(again: Wait, is_void: bool, execution: Execution, at: int) -> Wait:
    """Return the wait of a call without a result; `is_void`: its result is taken back."""
    if again.is_approval or again.request is not None:
        again = replace(again, begun_at=None)
    if is_void and again.kind not in _LASTING:
        return _reopened(_before_its_run(again), at)
    if again.is_open and execution.status in TERMINAL:
        return _reopened(again, at)
    return again


_LASTING: Final = (WaitKind.CHILD, WaitKind.TIMER)
"""Kinds of waits that are not repeated: a child that has ended and a time that has come."""


def _before_its_run(found: Wait) -> Wait:
    """Return the approval that a call needs before it runs elsewhere again."""
    if found.is_approval or found.begun_at is None:
        return found
    return _approval_of(found)


def _approval_of(found: Wait) -> Wait:
    return replace(found, kind=WaitKind.APPROVAL, begun_at=None, due_at=None, request=None)


def _reopened(found: Wait, at: int) -> Wait:
    """Return the wait open again, with its full time; edits stay if the call may have run."""
    ran = found.kind is not WaitKind.APPROVAL
    time = None if found.due_at is None else found.due_at - found.requested_at
    return replace(
        found,
        requested_at=at,
        decided_at=None,
        approved=None,
        reason=None if found.is_approval else found.reason,
        effective_parameters=found.effective_parameters if ran else None,
        result=None,
        has_result=False,
        decided_by=None,
        due_at=None if time is None else at + time,
    )


def only_waits(calls: Calls, waits: dict[str, Wait]) -> bool:
    """Whether nothing can be done before a wait is decided."""
    return all(call.id in waits for _, call in calls) and any(a.is_open for a in waits.values())
