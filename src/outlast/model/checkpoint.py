"""A checkpoint: a place in an execution from which a segment can start."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The execution as of step `step`; recorded steps are referred to, not copied.

    `missing` are the numbers up to `step` that were not recorded yet: calls of one answer run
    concurrently, and a later one may end first.
    """

    id: str
    execution_id: str
    step: int
    at: int
    label: str | None = None
    state: dict[str, Any] | None = None
    """None: the state of the previous checkpoint."""
    superseded: bool = False
    missing: tuple[int, ...] = ()

    def covers(self, number: int) -> bool:
        """Whether the step of this number was recorded at this checkpoint."""
        return number <= self.step and number not in self.missing

    @property
    def place(self) -> tuple[int, int, str]:
        """Sort key: orders checkpoints of one execution by creation, independent of clocks."""
        return (self.step, -len(self.missing), self.id)
