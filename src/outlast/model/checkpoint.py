"""A checkpoint: a place in an execution from which a segment can start."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """After step `step` the execution stood here; recorded steps are referred to, not copied.

    `missing` are the numbers up to `step` that were not recorded yet: calls of one answer run side
    by side, and a later one may end first.
    """

    id: str
    execution_id: str
    step: int
    at: int
    label: str | None = None
    state: dict[str, Any] | None = None
    """None: that of the checkpoint before."""
    superseded: bool = False
    missing: tuple[int, ...] = ()

    def covers(self, number: int) -> bool:
        """Whether the step of this number was recorded here."""
        return number <= self.step and number not in self.missing

    @property
    def place(self) -> tuple[int, int, str]:
        """Sorts checkpoints of one execution by when they were made, whatever clock made them."""
        return (self.step, -len(self.missing), self.id)
