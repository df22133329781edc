"""What the runner runs: a duty, with how often and how much at a time."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MaintenanceDuty:
    """Work of the fleet that is found in the database, a batch at a time."""

    name: str
    """In the metrics and the log."""
    every: float
    """Seconds between two looks, at most."""
    limit: int
    """The size of a batch."""
    run: Callable[[int], Awaitable[int]]
    """Do at most so many; return how many were done. As many as the limit: there may be more."""
    sleep: Callable[[float], Awaitable[None]] | None = None
    """None: the Clock's. The queue's time is the database's and the event loop's."""
