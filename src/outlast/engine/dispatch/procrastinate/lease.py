"""How long this worker may go on: until a bound after the last heartbeat that the database took.

The bound ends before the others take the worker's jobs, so that work stops here before it begins
there. Seconds are the event loop's, which go on while a process is frozen.
"""

import asyncio


class Lease:
    """Extended by heartbeats, ended by time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = 0.0

    def extend(self, began: float) -> None:
        """A heartbeat that was sent at this time of the loop has been taken."""
        self._until = began + self._seconds

    @property
    def holds(self) -> bool:
        """Whether the jobs that this worker has are still its own."""
        return asyncio.get_running_loop().time() < self._until
