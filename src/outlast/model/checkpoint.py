"""A checkpoint: a place in an execution from which a segment can start."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from outlast.model.memory import WrittenMemory


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
    memory: tuple[WrittenMemory, ...] = ()
    """Written by the steps between it and the next one; a roll-back leaves them as they are."""

    def covers(self, number: int) -> bool:
        """Whether the step of this number was recorded at this checkpoint."""
        return number <= self.step and number not in self.missing

    @property
    def place(self) -> tuple[int, int, str]:
        """Sort key: orders checkpoints of one execution by creation, independent of clocks."""
        return (self.step, -len(self.missing), self.id)


def with_memory(
    checkpoints: Sequence[Checkpoint], written: Iterable[WrittenMemory]
) -> tuple[Checkpoint, ...]:
    """Return the checkpoints, oldest first, each with the memory that was written behind it.

    What was written before the first is left out: no roll-back goes there.
    """
    behind: list[list[WrittenMemory]] = [[] for _ in checkpoints]
    waiting = sorted(written, key=lambda one: (one.step, one.version))
    for place in range(len(checkpoints) - 1, -1, -1):
        covered = [one for one in waiting if checkpoints[place].covers(one.step)]
        behind[place] = [one for one in waiting if not checkpoints[place].covers(one.step)]
        waiting = covered
    return tuple(
        replace(one, memory=tuple(memory)) if memory else one
        for one, memory in zip(checkpoints, behind, strict=True)
    )
