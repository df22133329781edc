"""Memory stores: a method for each transaction."""

from collections.abc import Mapping, Sequence

from outlast.model.error import MemoryItemNotFound, MemoryStoreNotFound
from outlast.model.memory import (
    Access,
    MemoryAccess,
    MemoryItem,
    MemoryStore,
    MemoryVersion,
    MemoryWrite,
    NamedStore,
    above,
)
from outlast.model.workspace import USUAL_LIMITS, MemoryLimits, Plan
from outlast.store.budgets.shares import Full, fitted
from outlast.store.conversations.rows import LOCK_CHATS
from outlast.store.driver import Driver, Part, Query, Transaction, TransactionResult
from outlast.store.idempotency import Idempotency, first_request, remember
from outlast.store.memory.find import find_items
from outlast.store.memory.rows import (
    EMBEDDING_MODELS,
    ERASE_MEMORY_ITEMS,
    ERASE_MEMORY_STORE,
    ERASE_MEMORY_VERSIONS,
    ERASED_MEMORY,
    HIDE_MEMORY_STORE,
    INSERT_MEMORY_STORE,
    LOCK_MEMORY_STORE,
    MEMORY_ITEM,
    MEMORY_ITEM_BY_ID,
    MEMORY_ITEMS,
    MEMORY_STORE,
    MEMORY_STORES,
    MEMORY_STORES_AFTER,
    MEMORY_STORES_BEFORE,
    MEMORY_STORES_NAMED,
    MEMORY_TO_ERASE,
    MEMORY_VERSIONS,
    MERGE_WORDS,
    NEWEST_MEMORY_ITEMS,
    NEWEST_MEMORY_ITEMS_BELOW,
    UPDATE_MEMORY_STORE,
    VERSIONS_LEFT,
    item_from,
    store_from,
    version_from,
)
from outlast.store.memory.vectors import ERASE_VECTORS
from outlast.store.memory.write import Written, redact, write
from outlast.store.page import Page
from outlast.store.request_charges import charge_request
from outlast.store.tables import to_json

__all__ = ["Memories", "Written", "stores_named"]


def _create(
    store: MemoryStore, promise: Idempotency | None
) -> Transaction[tuple[MemoryStore, bool]]:
    """Insert a store with the request's idempotency key, or find the one of the first request."""
    if promise is not None:
        first = yield from first_request(promise, store.created_at)
        if first is not None:
            return TransactionResult(((yield from _store(store.workspace_id, first.made)), True))
    yield _insert(store)
    if promise is not None:
        yield remember(promise, store.id, store.created_at)
    return TransactionResult((store, False))


def _insert(store: MemoryStore) -> Query:
    return Query(
        INSERT_MEMORY_STORE,
        {
            "id": store.id,
            "workspace_id": store.workspace_id,
            "name": store.name,
            "description": store.description,
            "metadata": to_json(store.metadata),
            "created_at": store.created_at,
            "updated_at": store.updated_at,
            "archived_at": None,
            "items": 0,
            "bytes": 0,
            "erasing_since": None,
            "deleted": False,
            "embedding": None if store.embedding is None else store.embedding.model,
            "dimensions": None,
            "embed_at": None,
            "embed_tries": 0,
            "embed_error": None,
            "vectors_changed": 0,
            "vectors_deleted": 0,
        },
    )


def _ensure(store: MemoryStore) -> Transaction[None]:
    """Insert a store unless there is one of its name; within a workspace one at a time."""
    of = {"workspace": store.workspace_id, "name": store.name, "limit": 1}
    yield Query(LOCK_CHATS, {"workspace": store.workspace_id})
    if not (yield Query(MEMORY_STORES_NAMED, of)):
        yield _insert(store)
    return TransactionResult(None)


def _of_names(
    workspace_id: str, named: Sequence[NamedStore]
) -> Transaction[tuple[MemoryAccess, ...]]:
    """Find the oldest store of each name."""
    return TransactionResult((yield from stores_named(workspace_id, named)))


def stores_named(workspace_id: str, named: Sequence[NamedStore]) -> Part[tuple[MemoryAccess, ...]]:
    """Find the oldest store of each name; leave out what is archived or not there."""
    found: list[MemoryAccess] = []
    for one in named:
        of = {"workspace": workspace_id, "name": one.name, "limit": 1}
        rows = yield Query(MEMORY_STORES_NAMED, of)
        stores = [store_from(row) for row in rows]
        access = Access(one.access)
        found += [MemoryAccess(store.id, access) for store in stores if store.archived_at is None]
    return tuple(found)


def _store(workspace_id: str, store_id: str) -> Part[MemoryStore]:
    rows = yield Query(MEMORY_STORE, {"workspace": workspace_id, "store": store_id})
    if not rows:
        raise MemoryStoreNotFound
    return store_from(rows[0])


def _embedding_models() -> Transaction[set[str]]:
    rows = yield Query(EMBEDDING_MODELS, {})
    return TransactionResult({model for (model,) in rows})


def _get(workspace_id: str, store_id: str) -> Transaction[MemoryStore]:
    """Read a store."""
    return TransactionResult((yield from _store(workspace_id, store_id)))


def _get_all(workspace_id: str, store_ids: Sequence[str]) -> Transaction[list[MemoryStore | None]]:
    """Read stores; None in the place of each that is not there."""
    found: list[MemoryStore | None] = []
    for store_id in store_ids:
        rows = yield Query(MEMORY_STORE, {"workspace": workspace_id, "store": store_id})
        found.append(store_from(rows[0]) if rows else None)
    return TransactionResult(found)


def _read_page(workspace_id: str, page: Page) -> Transaction[list[MemoryStore]]:
    """Read a page by keyset, and one more row to tell whether there are more."""
    given = {"workspace": workspace_id, "limit": page.limit + 1}
    if page.after is not None:
        rows = yield Query(MEMORY_STORES_AFTER, given | {"after": page.after})
    elif page.before is not None:
        rows = yield Query(MEMORY_STORES_BEFORE, given | {"before": page.before})
    else:
        rows = yield Query(MEMORY_STORES, given)
    found = [store_from(row) for row in rows]
    return TransactionResult(found[::-1] if page.backwards else found)


def _update(store: MemoryStore) -> Transaction[None]:
    """Write what a store may change: name, description, metadata, archived_at."""
    of = {"workspace": store.workspace_id, "store": store.id}
    if not (yield Query(LOCK_MEMORY_STORE, of)):
        raise MemoryStoreNotFound
    yield Query(
        UPDATE_MEMORY_STORE,
        {
            "given_workspace": store.workspace_id,
            "given_store": store.id,
            "new_name": store.name,
            "new_description": store.description,
            "new_metadata": to_json(store.metadata),
            "new_archived_at": store.archived_at,
            "at": store.updated_at,
        },
    )
    return TransactionResult(None)


def _delete(workspace_id: str, store_id: str, at: int) -> Transaction[None]:
    """Hide a store; `erase` deletes what it holds."""
    if not (yield Query(LOCK_MEMORY_STORE, {"workspace": workspace_id, "store": store_id})):
        raise MemoryStoreNotFound
    given = {"given_workspace": workspace_id, "given_store": store_id, "at": at, "no_text": ""}
    yield Query(HIDE_MEMORY_STORE, given)
    return TransactionResult(None)


def _write(wanted: MemoryWrite, full: Full) -> Transaction[Written]:
    """Write an item, and charge the request for its vector."""
    done = yield from write(wanted)
    if done.charge is not None:
        yield from charge_request(done.charge, full)
    return TransactionResult(done, erased=wanted.purged)


def _item(workspace_id: str, store_id: str, key: str) -> Transaction[MemoryItem]:
    """Read an item by its key, or by its id."""
    yield from _store(workspace_id, store_id)
    rows = yield Query(MEMORY_ITEM, {"store": store_id, "key": key})
    if not rows:
        rows = yield Query(MEMORY_ITEM_BY_ID, {"store": store_id, "id": key})
    if not rows:
        raise MemoryItemNotFound
    return TransactionResult(item_from(rows[0]))


def _items(
    workspace_id: str, store_id: str, prefix: str, after: str, limit: int
) -> Transaction[list[MemoryItem]]:
    """Read items by key, and one more to tell whether there are more."""
    yield from _store(workspace_id, store_id)
    given = {"store": store_id, "after": after, "limit": limit + 1} | _range(prefix)
    rows = yield Query(MEMORY_ITEMS, given)
    return TransactionResult([item_from(row) for row in rows])


def _range(prefix: str) -> dict[str, str]:
    return {"from_key": prefix, "until_key": above(prefix)}


def _find(
    workspace_id: str,
    store_ids: Sequence[str],
    words: Sequence[str] | None,
    prefix: str,
    limit: int,
) -> Transaction[list[MemoryItem]]:
    """Read the newest items that have all words; None: any items."""
    found: list[MemoryItem] = []
    for store_id in store_ids:
        yield from _store(workspace_id, store_id)
        given = {"store": store_id, "limit": limit} | _range(prefix)
        if words is None:
            rows = yield Query(NEWEST_MEMORY_ITEMS_BELOW if prefix else NEWEST_MEMORY_ITEMS, given)
        elif words:
            rows = yield from find_items(store_id, words, prefix, limit)
        else:
            rows = []
        found.extend(item_from(row) for row in rows)
    found.sort(key=lambda item: (item.updated_at, item.id), reverse=True)
    return TransactionResult(found[:limit])


def _versions(
    workspace_id: str, store_id: str, item_id: str, before: int, limit: int
) -> Transaction[list[MemoryVersion]]:
    """Read versions of an item, newest first, and one more to tell whether there are more."""
    yield from _store(workspace_id, store_id)
    given = {"store": store_id, "id": item_id, "before": before, "limit": limit + 1}
    rows = yield Query(MEMORY_VERSIONS, given)
    return TransactionResult([version_from(row) for row in rows])


def _erase(limit: int) -> Transaction[int]:
    """Delete some of what deleted stores hold, then the words that are left in the index."""
    rows = yield Query(MEMORY_TO_ERASE, {})
    if not rows:
        return TransactionResult(0)
    ((store_id, deleted, _),) = rows
    of = {"store": store_id}
    if deleted:
        if (yield Query(ERASE_VECTORS, of | {"limit": limit})):
            return TransactionResult(limit)
        if (yield Query(ERASE_MEMORY_ITEMS, of | {"limit": limit})):
            return TransactionResult(limit)
        for _ in range(limit):
            left = yield Query(VERSIONS_LEFT, of)
            if not left:
                break
            yield Query(ERASE_MEMORY_VERSIONS, {"id": left[0][0]})
        else:
            return TransactionResult(limit)
    yield Query(MERGE_WORDS, {})
    if deleted:
        yield Query(ERASE_MEMORY_STORE, of)
    else:
        yield Query(ERASED_MEMORY, {"given_store": store_id})
    return TransactionResult(limit, erased=True)


class Memories:
    """Memory stores and their items."""

    def __init__(self, driver: Driver, limits: Mapping[Plan, MemoryLimits] = USUAL_LIMITS) -> None:
        self._driver = driver
        self.limits = limits
        """What a store may hold, by the plan of its workspace; writes name them."""

    async def create(
        self, store: MemoryStore, promise: Idempotency | None = None
    ) -> tuple[MemoryStore, bool]:
        """Create a store, or return that of the first request with this key, and whether it was.

        Raises IdempotencyMismatch, MemoryStoreNotFound (it was deleted since).
        """
        return await self._driver.write(lambda: _create(store, promise))

    async def ensure(self, store: MemoryStore) -> None:
        """Create a store, unless the workspace has one of its name."""
        await self._driver.write(lambda: _ensure(store))

    async def of_names(
        self, workspace_id: str, named: Sequence[NamedStore]
    ) -> tuple[MemoryAccess, ...]:
        """Return the stores of these names; those that are not there or archived are left out."""
        return await self._driver.read(lambda: _of_names(workspace_id, named), light=True)

    async def get(self, workspace_id: str, store_id: str) -> MemoryStore:
        """Return a store. Raises MemoryStoreNotFound."""
        return await self._driver.read(lambda: _get(workspace_id, store_id), light=True)

    async def get_all(
        self, workspace_id: str, store_ids: Sequence[str]
    ) -> list[MemoryStore | None]:
        """Return these stores in their order; None for each that the workspace does not have."""
        return await self._driver.read(lambda: _get_all(workspace_id, store_ids), light=True)

    async def embedding_models(self) -> set[str]:
        """Return the embedding models that stores of any workspace have."""
        return await self._driver.read(_embedding_models)

    async def page(self, workspace_id: str, page: Page) -> list[MemoryStore]:
        """Return a page of stores, newest first, and one more if there are more."""
        return await self._driver.read(lambda: _read_page(workspace_id, page))

    async def update(self, store: MemoryStore) -> None:
        """Write name, description, metadata and archived_at. Raises MemoryStoreNotFound."""
        await self._driver.write(lambda: _update(store))

    async def delete(self, workspace_id: str, store_id: str, at: int) -> None:
        """Delete a store for good; `erase` deletes what it held. Raises MemoryStoreNotFound."""
        await self._driver.write(lambda: _delete(workspace_id, store_id, at))

    async def write(self, wanted: MemoryWrite) -> Written:
        """Write, rename or delete an item. Raises what `store.memory.write.write` raises."""
        return await fitted(lambda full: self._driver.write(lambda: _write(wanted, full)))

    async def item(self, workspace_id: str, store_id: str, key: str) -> MemoryItem:
        """Return an item by its key or id. Raises MemoryStoreNotFound, MemoryItemNotFound."""
        return await self._driver.read(lambda: _item(workspace_id, store_id, key), light=True)

    async def items(
        self, workspace_id: str, store_id: str, prefix: str, after: str, limit: int
    ) -> list[MemoryItem]:
        """Return items by key from behind `after`, and one more if there are more.

        Raises MemoryStoreNotFound.
        """
        return await self._driver.read(lambda: _items(workspace_id, store_id, prefix, after, limit))

    async def find(
        self,
        workspace_id: str,
        store_ids: Sequence[str],
        words: Sequence[str] | None,
        prefix: str,
        limit: int,
    ) -> list[MemoryItem]:
        """Return the items of these stores that have all words, the newest first.

        None: any items. Without a word, none. Raises MemoryStoreNotFound.
        """
        return await self._driver.read(lambda: _find(workspace_id, store_ids, words, prefix, limit))

    async def versions(
        self, workspace_id: str, store_id: str, item_id: str, before: int, limit: int
    ) -> list[MemoryVersion]:
        """Return versions of an item older than `before`, newest first, also of a deleted one.

        And one more if there are more. Raises MemoryStoreNotFound.
        """
        return await self._driver.read(
            lambda: _versions(workspace_id, store_id, item_id, before, limit)
        )

    async def redact(
        self, workspace_id: str, store_id: str, item_id: str, number: int, at: int
    ) -> MemoryVersion:
        """Take the content out of a version for good, and return it; `erase` erases the rest.

        Raises MemoryStoreNotFound, MemoryItemNotFound, Conflict for what the item holds now.
        """
        return await self._driver.write(lambda: redact(workspace_id, store_id, item_id, number, at))

    async def erase(self, limit: int) -> int:
        """Delete some of what deleted stores and items left behind; return `limit` if any was."""
        return await self._driver.write(lambda: _erase(limit))
