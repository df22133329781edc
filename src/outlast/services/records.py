"""Records: what a workspace's executions and their steps did, and what that cost."""

from collections.abc import Sequence

from outlast.model.record import ExecutionRecord, Record, RecordId, Tree
from outlast.model.workspace import Principal, Scope
from outlast.store.records import RecordPage, RecordStore


class Records:
    """The records of a workspace."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store

    async def page(
        self, principal: Principal, agent_ids: Sequence[str], number: int, size: int
    ) -> list[ExecutionRecord]:
        """A page of executions, newest first, counted from 1; of all agents where none is named.

        Raises MissingScope.
        """
        principal.require(Scope.EXECUTIONS_READ)
        page = RecordPage(size, (number - 1) * size, tuple(dict.fromkeys(agent_ids)))
        return await self._store.page(principal.workspace_id, page)

    async def get(self, principal: Principal, wanted: RecordId) -> Record:
        """An execution or one of its steps. Raises ExecutionNotFound, MissingScope."""
        principal.require(Scope.EXECUTIONS_READ)
        return await self._store.get(principal.workspace_id, wanted)

    async def nested(self, principal: Principal, wanted: RecordId) -> Tree:
        """The same with all that is under it. Raises ExecutionNotFound, MissingScope."""
        found = await self.get(principal, wanted)
        if not isinstance(found, ExecutionRecord):
            return Tree(found)
        return await self._store.tree(principal.workspace_id, found.execution.id)

    async def around_message(self, principal: Principal, wanted: RecordId) -> Tree:
        """The execution that wrote or answered a message. Raises as `nested` does."""
        found = await self.get(principal, wanted)
        return await self._store.tree(principal.workspace_id, found.execution.id)
