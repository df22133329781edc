"""Records: what a workspace's executions and their steps did, and the costs."""

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
        """Return the page of this number, from 1, newest first; of all agents if none is named.

        Raises MissingScope.
        """
        principal.require(Scope.EXECUTIONS_READ)
        page = RecordPage(size, (number - 1) * size, tuple(dict.fromkeys(agent_ids)))
        return await self._store.page(principal.workspace_id, page)

    async def get(self, principal: Principal, wanted: RecordId) -> Record:
        """Return an execution or one of its steps. Raises ExecutionNotFound, MissingScope."""
        principal.require(Scope.EXECUTIONS_READ)
        return await self._store.get(principal.workspace_id, wanted)

    async def nested(self, principal: Principal, wanted: RecordId) -> Tree:
        """Like `get`, with everything under it. Raises ExecutionNotFound, MissingScope."""
        found = await self.get(principal, wanted)
        if not isinstance(found, ExecutionRecord):
            return Tree(found)
        return await self._store.tree(principal.workspace_id, found.execution.id)

    async def around_message(self, principal: Principal, wanted: RecordId) -> Tree:
        """Return the execution that wrote or answered a message. Raises like `nested`."""
        found = await self.get(principal, wanted)
        return await self._store.tree(principal.workspace_id, found.execution.id)
