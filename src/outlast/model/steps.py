"""Rules on an execution's steps: calls of the newest answer without a result, and numbering.

A model step is followed by its tool calls in their order; of an answer to a code agent's function,
none runs unless the function makes it. After a roll-back, numbers continue after the highest of the
superseded work, so that no two steps have one number.
"""

from collections.abc import Iterable
from typing import TypeAlias

from outlast.model.execution import ModelStep, Step
from outlast.model.message import ToolCall

Calls: TypeAlias = tuple[tuple[int, ToolCall], ...]
"""(step number, call)."""


def unanswered(steps: Iterable[Step], superseded_to: int = 0) -> Calls:
    """Return tool calls of the newest model step that have no result, with their step numbers."""
    last: ModelStep | None = None
    answered = set()
    for step in steps:
        if isinstance(step, ModelStep):
            last = step
        else:
            answered.add(step.call.id)
    if last is None or last.request_digest:
        return ()
    first = max(last.number, superseded_to) + 1
    return tuple(
        (number, call)
        for number, call in enumerate(last.message.tool_calls, first)
        if call.id not in answered
    )


def next_number(steps: Iterable[Step], superseded_to: int = 0) -> int:
    """Return the number of the next model step, once every call is answered."""
    return max([superseded_to, *(step.number for step in steps)]) + 1
