"""Replay of what a code agent's function did since its newest checkpoint.

Results of its calls are returned in their order, without making or charging the calls again. If the
function makes another call than the next one, the calls between are dropped: they stay recorded,
and the call is made. A tool call that may not run twice is never dropped: Diverged.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

from outlast.engine.segment.pending_calls import repeatable
from outlast.model.agent import AgentSpec
from outlast.model.error import Diverged
from outlast.model.execution import ModelStep, Step, ToolStep


class Replay:
    """The recorded calls that are still to be replayed."""

    def __init__(self, steps: Iterable[Step], spec: AgentSpec) -> None:
        """`steps`: those after the checkpoint that the function starts from."""
        self._spec = spec
        self._steps = deque(
            step
            for step in steps
            if isinstance(step, ToolStep) or step.request_digest or _is_call(step)
        )

    def __bool__(self) -> bool:
        """Whether recorded calls are left."""
        return bool(self._steps)

    def model(self, digest: str) -> ModelStep | None:
        """Return the answer to the request of this digest; None if it is new. Raises Diverged."""
        for index, step in enumerate(self._steps):
            if isinstance(step, ModelStep) and step.request_digest == digest:
                self._drop(index)
                self._steps.popleft()
                return step
        self.drop()
        return None

    def tool(self, name: str, arguments: dict[str, Any]) -> ToolStep | None:
        """Return the result of this call; None if it is new. Raises Diverged."""
        for index, step in enumerate(self._steps):
            if isinstance(step, ModelStep) and _calls(step, name, arguments):
                self._drop(index)
                self._steps.popleft()
                made = self._steps.popleft()
                assert isinstance(made, ToolStep)
                return made
        self.drop()
        return None

    def drop(self) -> None:
        """Drop all that is left. Raises Diverged."""
        self._drop(len(self._steps))

    def _drop(self, count: int) -> None:
        for _ in range(count):
            step = self._steps.popleft()
            if isinstance(step, ToolStep) and not repeatable(self._spec, step.call):
                raise Diverged(
                    f"The tool {step.call.name} ran since the newest checkpoint, and the agent's "
                    "function did not call it again with the same arguments. It may not run "
                    "twice: write a checkpoint behind it, and roll back to go on."
                )


def _is_call(step: ModelStep) -> bool:
    return bool(step.message.tool_calls)


def _calls(step: ModelStep, name: str, arguments: dict[str, Any]) -> bool:
    """Whether the step is the function's call of this tool with these arguments."""
    return not step.request_digest and any(
        (call.name, call.parameters) == (name, arguments) for call in step.message.tool_calls
    )
