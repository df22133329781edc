"""Memory stores in the database, with the methods of the client's that commands use."""

from typing import Any

from outlast.agents.embeddings.catalogue import Embedders
from outlast.agents.memory_search import MemorySearch
from outlast.agents.prices.price_list import PriceList
from outlast.model.clock import Clock
from outlast.model.embedding import checked_mode
from outlast.model.workspace import Principal, Scope
from outlast.rooms.executions.routes.memory_search import found_answer
from outlast.rooms.executions.routes.memory_stores import item_of, store_answer
from outlast.rooms.executions.routes.memory_versions import version_answer
from outlast.services.embedding_charges import EmbeddingCharges
from outlast.services.memory import ItemWrite, Memory, Search
from outlast.store.page import Page
from outlast.store.store import Store


class MemoryDatabase:
    """The memory stores of a workspace; what is written has no key, and is charged to it."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        workspace_id: str,
        embedders: Embedders,
        prices: PriceList,
    ) -> None:
        search = MemorySearch(store.memories, store.vectors, embedders)
        charges = EmbeddingCharges(store.request_charges, store.memories, prices, clock)
        self._memory = Memory(store.memories, clock, search, charges)
        self._principal = Principal("", workspace_id, frozenset(Scope), budgeted=True)

    async def create(
        self, name: str, description: str, *, embedding: str | None = None
    ) -> dict[str, Any]:
        """Create a store."""
        made, _ = await self._memory.create(self._principal, name, description, embedding=embedding)
        return dict(store_answer(made))

    async def list(self, *, limit: int, after: str | None) -> dict[str, Any]:
        """Return a page of stores, newest first."""
        found, more = await self._memory.page(self._principal, Page(limit, after))
        last = found[-1].id if more else None
        return {"data": [store_answer(one) for one in found], "hasMore": more, "nextCursor": last}

    async def item(self, store_id: str, key: str) -> dict[str, Any]:
        """Return one item, by its key or id."""
        return dict(item_of(await self._memory.item(self._principal, store_id, key)))

    async def items(
        self, store_id: str, *, prefix: str, after: str, limit: int, full: bool
    ) -> dict[str, Any]:
        """Return a page of items by key."""
        found, more = await self._memory.items(self._principal, store_id, prefix, after, limit)
        last = found[-1].key if more else None
        shown = [item_of(one, content=full) for one in found]
        return {"data": shown, "hasMore": more, "nextCursor": last}

    async def search(
        self, store_id: str, query: str, *, prefix: str, limit: int, mode: str | None = None
    ) -> dict[str, Any]:
        """Return the items that a search finds, the best first."""
        wanted = Search(query, prefix, limit, checked_mode(mode))
        return dict(found_answer(await self._memory.search(self._principal, store_id, wanted)))

    async def put(self, store_id: str, key: str, content: str) -> dict[str, Any]:
        """Write the item of this key."""
        written = await self._memory.write(self._principal, store_id, key, ItemWrite(content))
        assert written.item is not None
        return dict(item_of(written.item))

    async def versions(self, store_id: str, item_id: str, *, limit: int) -> dict[str, Any]:
        """Return the newest versions of an item."""
        which = (self._principal, store_id, item_id)
        found, _ = await self._memory.versions(*which, 1 << 53, limit)
        return {"data": [version_answer(one) for one in found]}

    async def redact(self, store_id: str, item_id: str, version: int) -> dict[str, Any]:
        """Take the content out of a version."""
        redacted = await self._memory.redact(self._principal, store_id, item_id, version)
        return dict(version_answer(redacted))
