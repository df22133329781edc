"""Changes of the queue in commits of executions.

An execution gets a job in the commit that makes it runnable. If this process has a free slot the
job is its own from then on, and the segment begins without reading the queue. The commit that ends
a segment ends its job.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any

from outlast.model.execution import Execution, Status
from outlast.store.driver import TransactionResult
from outlast.store.postgres.jobs import job_added, job_ended
from outlast.store.postgres.run import Fate, JobChanges


@dataclass(slots=True, eq=False)
class Held:
    """A job of this process's worker, until it is ended."""

    worker: int
    ended: bool = False
    """Whether the commit that ended the segment has ended it."""


class Jobs:
    """Determines a commit's changes of the queue; shared by a database driver and its engine.

    Until an engine sets `place`, every job is for any worker.
    """

    def __init__(self) -> None:
        self.place: Callable[[Execution], int | None] = lambda _: None
        """Returns this process's worker if it takes an execution at once; None: any worker."""
        self.processes: Callable[[], int | None] = lambda: None
        """Returns how many processes use the database, this one included; None: unknown."""
        self.receive: Callable[[str, Callable[[str], None]], None] = lambda *_: None
        """Lets the driver pass on the notifications of a channel."""
        self.unknown: Callable[[], None] = lambda: None
        """Called if it is unknown whether a commit that claimed an execution has happened."""
        self.held: dict[str, Held] = {}
        """Jobs by execution."""
        self.claimed: set[str] = set()
        """Executions claimed by commits under way."""
        self.taken: dict[str, int] = {}
        """Executions that a commit gave to this process's worker, to be begun."""

    def enqueue(self, result: TransactionResult[Any], *, first: bool) -> JobChanges:
        """Return the changes for a transaction; on a retry nothing is claimed."""
        claimed = self._claim(result) if first else {}
        ended = self._ended(result)
        if not (result.runnable or ended):
            return JobChanges()
        inserts = (job_added(one, claimed.get(one.id)) for one in result.runnable)
        return JobChanges(
            (
                *inserts,
                *(job_ended(execution_id, held.worker) for execution_id, held in ended.items()),
            ),
            lambda fate: self._settle(fate, claimed, ended),
        )

    def _claim(self, result: TransactionResult[Any]) -> dict[str, int]:
        """Claim this process's share of the runnable executions, as long as there are free slots.

        It is one of one; of several, which are children of one answer, as many as fall to each
        process.
        """
        claimed: dict[str, int] = {}
        share = ceil(len(result.runnable) / (self.processes() or len(result.runnable) or 1))
        for execution in result.runnable[:share]:
            worker = self.place(execution)
            if worker is None:
                break
            self.claimed.add(execution.id)
            claimed[execution.id] = worker
        return claimed

    def _ended(self, result: TransactionResult[Any]) -> dict[str, Held]:
        """Return the held jobs whose segments end with this commit."""
        ended: dict[str, Held] = {}
        for one in result.committed:
            if one.execution is not None and one.execution.status is not Status.RUNNING:
                held = self.held.get(one.execution_id)
                if held is not None:
                    ended[one.execution_id] = held
        return ended

    def _settle(self, fate: Fate, claimed: dict[str, int], ended: dict[str, Held]) -> None:
        self.claimed -= claimed.keys()
        if fate is Fate.COMMITTED:
            self.taken |= claimed
            for execution_id, held in ended.items():
                held.ended = True
                self.release(execution_id, held)
        elif fate is Fate.UNKNOWN and claimed:
            self.unknown()

    def release(self, execution_id: str, held: Held) -> None:
        """Stop holding the job."""
        if self.held.get(execution_id) is held:
            del self.held[execution_id]
