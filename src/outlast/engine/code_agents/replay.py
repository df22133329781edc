"""What a code agent's function did since its newest checkpoint, handed back when it does it again.

Its calls are handed back in their order, without being made or charged again. Where the function
makes another call than the one that comes next, what lies between is dropped: it stays recorded,
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
    """The calls that are still to be handed back."""

    def __init__(self, steps: Iterable[Step], spec: AgentSpec) -> None:
        """Steps behind the checkpoint that the function starts from."""
        self._spec = spec
        self._steps = deque(
            step
            for step in steps
            if isinstance(step, ToolStep) or step.request_digest or _is_call(step)
        )

    def __bool__(self) -> bool:
        """Whether the function has not come to where it was."""
        return bool(self._steps)

    def model(self, asked: str) -> ModelStep | None:
        """The answer to the request of this digest. Raises Diverged."""
        for index, step in enumerate(self._steps):
            if isinstance(step, ModelStep) and step.request_digest == asked:
                self._drop(index)
                self._steps.popleft()
                return step
        self.drop()
        return None

    def tool(self, name: str, arguments: dict[str, Any]) -> ToolStep | None:
        """The result of this call. Raises Diverged."""
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
        """Hand nothing more back. Raises Diverged."""
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
    """Whether the step is the function's own call of this tool."""
    return not step.request_digest and any(
        (call.name, call.parameters) == (name, arguments) for call in step.message.tool_calls
    )
