"""The store's port, records: executions, steps and charges, read as nodes of a tree."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from outlast.model.record import ExecutionRecord, Record, RecordId, Tree


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A stretch of the executions, newest first: those of some agents, or of all."""

    limit: int
    offset: int
    agent_ids: Sequence[str] = ()
    """Each once."""


class RecordStore(Protocol):
    """What was done and what it cost. Each read sees one moment, in a few statements."""

    async def records(self, workspace_id: str, page: RecordPage) -> list[ExecutionRecord]:
        """A page of executions."""
        ...

    async def record(self, workspace_id: str, wanted: RecordId) -> Record:
        """One execution, step or closed request. Raises ExecutionNotFound."""
        ...

    async def tree(self, workspace_id: str, execution_id: str) -> Tree:
        """An execution with all that is under it. Raises ExecutionNotFound."""
        ...
