"""The port of engines: an engine decides which process runs a segment, and nothing else."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.model.execution import Execution, PauseRequest


class Engine(Protocol):
    """Starts and stops segments, and recovers executions after a crash."""

    async def open(self) -> None:
        """Prepare the queue; called once the store is open."""
        ...

    async def start(self, *, recover: bool = True) -> None:
        """Begin to take work; with `recover`, first what an earlier process left."""
        ...

    async def stop(self, grace_seconds: float) -> None:
        """Begin no more segments; running ones end at their next commit or when the grace ends."""
        ...

    def runnable(self, execution: Execution) -> None:
        """Called when the next segment of this execution may start."""
        ...

    def free_slot(self, execution_id: str) -> AbstractContextManager[bool]:
        """Keep a slot for an execution that is created within; False if none is free.

        With a slot, the commit that creates it may begin it too, and then calls `begun`.
        """
        ...

    def begun(self, execution: Execution) -> None:
        """Called when a commit for which `free_slot` has kept a slot has begun this execution."""
        ...

    def cancel(self, execution_id: str) -> bool:
        """Stop the segment and abort its model call; return False if none runs here."""
        ...

    def requested(self, execution_id: str) -> None:
        """Called when another process has requested a cancel or pause of this execution."""
        ...

    def pause(self, execution_id: str, request: PauseRequest) -> bool:
        """Pause the segment; return False if none runs here."""
        ...

    @property
    def duties(self) -> Sequence[MaintenanceDuty]:
        """Maintenance duties of its queue."""
        ...

    @property
    def running(self) -> int:
        """Number of segments that run in this process."""
        ...

    async def workers(self) -> int:
        """Return how many processes run segments now. Raises Overloaded."""
        ...

    @property
    def backlog(self) -> int:
        """Number of executions that wait to run, as far as this process knows."""
        ...

    @property
    def accepting(self) -> bool:
        """Whether it takes work."""
        ...

    @property
    def taken_over(self) -> int:
        """How often this process reassigned a silent worker's execution."""
        ...

    @property
    def orphans(self) -> int:
        """Executions found that should have been queued and were not; expected to be 0."""
        ...


class BeginsApart:
    """Part of an engine for which no creation begins an execution.

    On Postgres the commit that creates one decides which worker takes its job.
    """

    def free_slot(self, execution_id: str) -> AbstractContextManager[bool]:
        del execution_id
        return nullcontext(enter_result=False)

    def begun(self, execution: Execution) -> None:
        pass
