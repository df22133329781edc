"""A checkpoint: a place in an execution from which a segment can start."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """After step `step` the execution stood here; recorded steps are referred to, not copied."""

    id: str
    execution_id: str
    step: int
    at: int
    label: str | None = None
    state: dict[str, Any] = field(default_factory=dict)
    superseded: bool = False
