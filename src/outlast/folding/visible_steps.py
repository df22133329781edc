"""Which steps a stream has shown, and which of them a retry or a roll-back voids."""

from typing import Any

from outlast.model.client_call import ClientCallRequested
from outlast.model.event import (
    ApprovalRequested,
    Event,
    ExecutionResumed,
    ModelFinished,
    TextAdded,
    ThinkingAdded,
    ToolFinished,
    ToolStarted,
)

_OF_A_STEP = (
    TextAdded
    | ThinkingAdded
    | ModelFinished
    | ToolStarted
    | ToolFinished
    | ApprovalRequested
    | ClientCallRequested
)


class Shown:
    """The steps shown so far that are not void."""

    def __init__(self) -> None:
        self._steps: set[int] = set()

    def add(self, event: Event) -> None:
        """Read the next event."""
        if isinstance(event, _OF_A_STEP):
            self._steps.add(event.step)

    def void(self, event: ExecutionResumed) -> list[int]:
        """Return the steps that this resume voids, in order; none if it only continues."""
        gone = {step for step in self._steps if event.voids(step)}
        self._steps -= gone
        return sorted(gone)


def voided(steps: list[int]) -> dict[str, Any]:
    """Return the frame fields that make a client drop these steps; `step` is the first."""
    return {"step": steps[0], "steps": steps}
