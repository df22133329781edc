"""A server with one memory store, and what a test does with it."""

from typing import Any

from outlast.app import Core
from outlast.engine.maintenance.pending_vectors import EMBED
from outlast.model.embedding import Found, SearchMode
from outlast.model.memory import EmbeddingState, MemoryStore
from outlast.model.workspace import Principal
from outlast.services.memory import ItemWrite, Search
from outlast.testing import FakeClock


class Library:
    """A server with one memory store."""

    def __init__(
        self, core: Core, caller: Principal, store: MemoryStore, clock: FakeClock | None
    ) -> None:
        self.core, self.caller, self.store = core, caller, store
        self.memory = core.services.memory
        self._clock = clock

    @property
    def clock(self) -> FakeClock:
        assert self._clock is not None
        return self._clock

    async def put(self, key: str, content: str, **more: Any) -> None:
        await self.memory.write(self.caller, self.store.id, key, ItemWrite(content, **more))

    async def embed(self) -> None:
        await self.core.maintenance.run(EMBED)

    async def state(self) -> EmbeddingState:
        found = (await self.memory.get(self.caller, self.store.id)).embedding
        assert found is not None
        return found

    async def search(self, query: str, mode: SearchMode | None = None, **more: Any) -> Found:
        return await self.memory.search(
            self.caller, self.store.id, Search(query, mode=mode, **more)
        )

    async def keys(self, query: str, mode: SearchMode | None = None, **more: Any) -> list[str]:
        return [one.item.key for one in (await self.search(query, mode, **more)).items]
