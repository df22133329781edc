"""A maintenance duty: what the runner runs, how often, and how much at a time."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MaintenanceDuty:
    """Background work found in the database, done in batches."""

    name: str
    """Name in the metrics and the log."""
    every: float
    """Maximum seconds between two runs."""
    limit: int
    """The size of a batch."""
    run: Callable[[int], Awaitable[int]]
    """Process at most this many; return how many. A full batch is followed by the next at once."""
    sleep: Callable[[float], Awaitable[None]] | None = None
    """None: the Clock's. The queue uses the time of the database and the event loop."""
