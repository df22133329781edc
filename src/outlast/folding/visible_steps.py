"""Which steps a stream has shown, and what a retry or a roll-back takes back of them."""

from typing import Any

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
    TextAdded | ThinkingAdded | ModelFinished | ToolStarted | ToolFinished | ApprovalRequested
)


class Shown:
    """The steps that a log has shown so far and that still stand."""

    def __init__(self) -> None:
        self._steps: set[int] = set()

    def add(self, event: Event) -> None:
        """Take the next event into account."""
        if isinstance(event, _OF_A_STEP):
            self._steps.add(event.step)

    def void(self, event: ExecutionResumed) -> list[int]:
        """The steps that this resume leaves behind, in order; none where it only goes on."""
        gone = {step for step in self._steps if event.voids(step)}
        self._steps -= gone
        return sorted(gone)


def voided(steps: list[int]) -> dict[str, Any]:
    """What a client is told to drop: what it was shown of these steps, the first of them named."""
    return {"step": steps[0], "steps": steps}
