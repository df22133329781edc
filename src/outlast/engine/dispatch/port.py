"""An engine decides who runs a segment. That is all it decides."""

from collections.abc import Sequence
from typing import Protocol

from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.model.execution import Execution, PauseRequest


class Engine(Protocol):
    """Starts segments, stops them, and takes up what a crash left."""

    async def open(self) -> None:
        """Prepare what `runnable` executions are kept in, once the store is open."""
        ...

    async def start(self, *, recover: bool = True) -> None:
        """Begin to take work, with `recover` first what an earlier process left."""
        ...

    async def stop(self, grace_seconds: float) -> None:
        """Begin no more segments; running ones end at their next commit or after the grace."""
        ...

    def runnable(self, execution: Execution) -> None:
        """Hear that a next segment of this execution may start."""
        ...

    def cancel(self, execution_id: str) -> bool:
        """Stop the segment that runs here, closing its model call; False if none runs here."""
        ...

    def requested(self, execution_id: str) -> None:
        """Hear that another process left word in the row of this execution: cancel or pause."""
        ...

    def pause(self, execution_id: str, request: PauseRequest) -> bool:
        """Pause the segment that runs here; False if none runs here."""
        ...

    @property
    def duties(self) -> Sequence[MaintenanceDuty]:
        """What its queue needs done by the process that leads maintenance."""
        ...

    @property
    def running(self) -> int:
        """Segments that run in this process."""
        ...

    async def workers(self) -> int:
        """How many processes run segments now. Raises Overloaded."""
        ...

    @property
    def backlog(self) -> int:
        """Executions that wait for a place to run, as far as this process knows."""
        ...

    @property
    def accepting(self) -> bool:
        """Whether it takes work."""
        ...

    @property
    def taken_over(self) -> int:
        """How often this process gave a silent worker's execution to others."""
        ...

    @property
    def orphans(self) -> int:
        """Executions that should have been queued and were not, found here; there must be none."""
        ...
