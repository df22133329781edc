"""Rules on an execution's steps: which calls of the newest answer have no result, and numbers.

A model step is followed by its tool calls in their order. After a roll-back, numbers go on behind
the highest that superseded work has used, so that no number ever means two steps.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from outlast.model.execution import ModelStep, Step, ToolStep
from outlast.model.message import ToolCall

Calls: TypeAlias = tuple[tuple[int, ToolCall], ...]
"""(step number, call)."""


@dataclass(frozen=True, slots=True)
class LastAnswer:
    """The newest model step, and the numbers of what follows it."""

    step: ModelStep | None
    superseded_to: int

    @property
    def calls(self) -> Calls:
        """Its tool calls with their step numbers."""
        if self.step is None:
            return ()
        return tuple(enumerate(self.step.message.tool_calls, self._before_calls + 1))

    @property
    def next_number(self) -> int:
        """The number of the next model step."""
        calls = 0 if self.step is None else len(self.step.message.tool_calls)
        return self._before_calls + calls + 1

    @property
    def _before_calls(self) -> int:
        return max(0 if self.step is None else self.step.number, self.superseded_to)


def last_answer(steps: Iterable[Step], superseded_to: int = 0) -> LastAnswer:
    """The newest of the model steps, which come in order."""
    models = [step for step in steps if isinstance(step, ModelStep)]
    return LastAnswer(models[-1] if models else None, superseded_to)


def unanswered(steps: Iterable[Step], superseded_to: int = 0) -> Calls:
    """Tool calls of the newest model step that have no result, with their step numbers."""
    known = tuple(steps)
    answered = {step.call.id for step in known if isinstance(step, ToolStep)}
    return tuple(
        (number, call)
        for number, call in last_answer(known, superseded_to).calls
        if call.id not in answered
    )
