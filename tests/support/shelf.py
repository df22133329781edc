"""One memory store in an open database."""

from typing import Any

from outlast.model.ids import MEMORY, MEMORY_ITEM
from outlast.model.memory import MemoryStore, MemoryWrite
from outlast.model.memory import query_words as words
from outlast.model.workspace import Workspace
from outlast.store.store import Store
from outlast.testing import FakeClock

WORKSPACE = "ws_1"


class Shelf:
    """One memory store, and what a test does with it."""

    def __init__(self, store: Store, clock: FakeClock, made: MemoryStore) -> None:
        self.store, self.clock, self.made = store.memories, clock, made

    def wanted(
        self, key: str | None = None, content: str | None = None, **more: Any
    ) -> MemoryWrite:
        new_id = self.clock.new_id(MEMORY_ITEM)
        return MemoryWrite(
            WORKSPACE, self.made.id, self.clock.now(), new_id, key, content=content, **more
        )

    async def put(self, key: str, content: str, **more: Any) -> Any:
        return (await self.store.write(self.wanted(key, content, **more))).item

    async def remove(self, key: str, **more: Any) -> None:
        await self.store.write(self.wanted(key, deleted=True, **more))

    async def find(self, query: str, prefix: str = "", limit: int = 50) -> list[str]:
        found = await self.store.find(WORKSPACE, (self.made.id,), words(query), prefix, limit)
        return [item.key for item in found]

    async def keys(self, prefix: str = "", after: str = "", limit: int = 50) -> list[str]:
        found = await self.store.items(WORKSPACE, self.made.id, prefix, after, limit)
        return [item.key for item in found]

    async def sums(self) -> tuple[int, int]:
        now = await self.store.get(WORKSPACE, self.made.id)
        return now.items, now.bytes

    async def versions(self, item_id: str) -> list[str | None]:
        found = await self.store.versions(WORKSPACE, self.made.id, item_id, 1 << 62, 5000)
        return [one.content for one in found]


async def shelf_of(store: Store, clock: FakeClock, **more: Any) -> Shelf:
    now = clock.now()
    made = MemoryStore(clock.new_id(MEMORY), WORKSPACE, "notes", now, now, **more)
    await store.workspaces.put(Workspace(WORKSPACE, "a", now))
    await store.memories.create(made)
    return Shelf(store, clock, made)
