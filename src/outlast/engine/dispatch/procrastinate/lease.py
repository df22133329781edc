"""How long this worker may continue: a bound after the last heartbeat accepted by the database.

It ends before the others take the worker's jobs, so that work stops here before it begins there.
Seconds are the event loop's, which advance while a process is frozen.
"""

import asyncio


class Lease:
    """Extended by heartbeats, ended by time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = 0.0

    def extend(self, began: float) -> None:
        """Extend the lease: a heartbeat sent at this time of the loop was accepted."""
        self._until = began + self._seconds

    @property
    def holds(self) -> bool:
        """Whether this worker's jobs are still its own."""
        return asyncio.get_running_loop().time() < self._until
