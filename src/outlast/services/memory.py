"""Memory stores: create, write, search; and which ones an execution gets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from outlast.agents.memory_search import MemorySearch, Search, uncharged
from outlast.model.clock import Clock
from outlast.model.embedding import Found
from outlast.model.error import (
    InvalidField,
    MemoryArchived,
    MemoryItemNotFound,
    MemoryStoreNotFound,
)
from outlast.model.ids import MEMORY, MEMORY_ITEM
from outlast.model.memory import (
    MAX_DESCRIPTION,
    MAX_NAME,
    MAX_STORES,
    EmbeddingState,
    MemoryAccess,
    MemoryItem,
    MemoryStore,
    MemoryVersion,
    MemoryWrite,
    MemoryWriter,
    NamedStore,
    NewStore,
    checked_content,
    checked_key,
    checked_prefix,
    is_item_id,
)
from outlast.model.text import storable
from outlast.model.workspace import Principal, Scope
from outlast.services.embedding_charges import EmbeddingCharges
from outlast.store.idempotency import Idempotency
from outlast.store.memory.store import Memories, Written
from outlast.store.page import Page

__all__ = ["ItemWrite", "Memory", "Search", "StoreChanges"]

_ERASED_AT_ONCE: Final = 200
"""Items of a deleted store that one transaction deletes."""


@dataclass(frozen=True, slots=True)
class StoreChanges:
    """Changes of a store; None: as it is."""

    name: str | None = None
    description: str | None = None
    metadata: dict[str, str] | None = None
    archived: bool | None = None


@dataclass(frozen=True, slots=True)
class ItemWrite:
    """A request to write an item."""

    content: str | None = None
    """None: as it is."""
    metadata: dict[str, Any] | None = None
    """None: as it is."""
    new_key: str | None = None
    matching: tuple[str, ...] | None = None
    absent: bool = False


class Memory:
    """The memory stores of a workspace."""

    def __init__(
        self,
        store: Memories,
        clock: Clock,
        search: MemorySearch | None = None,
        charges: EmbeddingCharges | None = None,
    ) -> None:
        """Without `search`, stores are given to executions, and not searched or created.

        Without `charges`, what is embedded is not charged.
        """
        self._store = store
        self._clock = clock
        self._search = search
        self._charges = charges

    async def create(
        self,
        principal: Principal,
        name: str,
        description: str = "",
        metadata: dict[str, str] | None = None,
        promise: Idempotency | None = None,
        embedding: str | None = None,
    ) -> tuple[MemoryStore, bool]:
        """Create a store; return it, and whether it is that of an earlier request with this key.

        `embedding`: its embedding model, for good. Raises MissingScope, IdempotencyMismatch,
        InvalidField for a name or a description that cannot be, or a model that cannot be used.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        if not 0 < len(name) <= MAX_NAME:
            raise InvalidField(f"name: 1 to {MAX_NAME} characters.", param="name")
        if len(description) > MAX_DESCRIPTION:
            text = f"description: at most {MAX_DESCRIPTION} characters."
            raise InvalidField(text, param="description")
        now = self._clock.now()
        store = MemoryStore(
            self._clock.new_id(MEMORY),
            principal.workspace_id,
            storable(name),
            now,
            now,
            storable(description),
            storable(metadata or {}),
            embedding=self._embedding(embedding),
        )
        return await self._store.create(store, promise)

    async def ensure(self, workspace_id: str, stores: Mapping[str, NewStore]) -> None:
        """Create the stores of these names that are not there yet. Raises InvalidField."""
        for name, wanted in stores.items():
            if await self._store.of_names(workspace_id, (NamedStore(name),)):
                continue
            now = self._clock.now()
            made = MemoryStore(
                self._clock.new_id(MEMORY),
                workspace_id,
                name,
                now,
                now,
                wanted.description,
                embedding=self._embedding(wanted.embedding),
            )
            await self._store.ensure(made)

    def _embedding(self, model: str | None) -> EmbeddingState | None:
        """Return the state of a new store with this model. Raises InvalidField."""
        if model is None:
            return None
        assert self._search is not None
        self._search.require(model)
        return EmbeddingState(model)

    async def get(self, principal: Principal, store_id: str) -> MemoryStore:
        """Return a store. Raises MemoryStoreNotFound, MissingScope."""
        _require_reader(principal)
        return await self._store.get(principal.workspace_id, store_id)

    async def page(self, principal: Principal, page: Page) -> tuple[list[MemoryStore], bool]:
        """Return a page, newest first, and whether there are more in the direction of the walk."""
        _require_reader(principal)
        return page.cut(await self._store.page(principal.workspace_id, page))

    async def update(
        self, principal: Principal, store_id: str, changes: StoreChanges
    ) -> MemoryStore:
        """Change a store; archive it or take it back. Raises MemoryStoreNotFound, MissingScope."""
        principal.require(Scope.AGENTS_EXECUTE)
        known, now = await self._store.get(principal.workspace_id, store_id), self._clock.now()
        archived_at = known.archived_at
        if changes.archived is not None:
            archived_at = (archived_at or now) if changes.archived else None
        store = replace(
            known,
            name=known.name if changes.name is None else storable(changes.name),
            description=known.description
            if changes.description is None
            else storable(changes.description),
            metadata=known.metadata if changes.metadata is None else storable(changes.metadata),
            archived_at=archived_at,
            updated_at=max(now, known.updated_at),
        )
        await self._store.update(store)
        return store

    async def delete(self, principal: Principal, store_id: str) -> None:
        """Delete a store with all items and versions for good.

        It is hidden at once; a crash meanwhile leaves the rest to maintenance. Raises
        MemoryStoreNotFound, MissingScope.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        await self._store.delete(principal.workspace_id, store_id, self._clock.now())
        await self._erase()

    async def _erase(self) -> None:
        while await self._store.erase(_ERASED_AT_ONCE):
            pass

    # --- items

    async def write(
        self, principal: Principal, store_id: str, ref: str, wanted: ItemWrite
    ) -> Written:
        """Write the item of a key, which is created if it is not there, or of an id.

        Raises MemoryStoreNotFound, MemoryItemNotFound (of an id), MemoryArchived, MemoryFull,
        InvalidField, PreconditionFailed, MissingScope, QuotaExceeded if a budget has no room for
        the item's new vector.
        """
        return await self._write(principal, store_id, ref, wanted, existing=False)

    async def change(
        self, principal: Principal, store_id: str, ref: str, wanted: ItemWrite
    ) -> MemoryItem:
        """Change an item that is there. Raises like `write`, and Conflict for a key in use."""
        written = await self._write(principal, store_id, ref, wanted, existing=True)
        assert written.item is not None
        return written.item

    async def _write(
        self, principal: Principal, store_id: str, ref: str, wanted: ItemWrite, *, existing: bool
    ) -> Written:
        principal.require(Scope.AGENTS_EXECUTE)
        key, item_id = _named(ref)
        price = None
        if self._charges is not None:
            price = await self._charges.price(principal.workspace_id, store_id)
        content = None if wanted.content is None else checked_content(storable(wanted.content))
        write = MemoryWrite(
            principal.workspace_id,
            store_id,
            self._clock.now(),
            self._clock.new_id(MEMORY_ITEM),
            key,
            item_id,
            content,
            None if wanted.metadata is None else storable(wanted.metadata),
            None if wanted.new_key is None else checked_key(wanted.new_key),
            existing=existing,
            matching=wanted.matching,
            absent=wanted.absent,
            writer=MemoryWriter(key_id=principal.key_id),
            limits=self._store.limits,
            embedding=price,
        )
        return await self._store.write(write)

    async def delete_item(
        self,
        principal: Principal,
        store_id: str,
        ref: str,
        *,
        matching: tuple[str, ...] | None = None,
        purge: bool = False,
    ) -> None:
        """Delete an item; its versions stay, unless it is to be purged. Raises like `write`."""
        principal.require(Scope.AGENTS_EXECUTE)
        key, item_id = _named(ref)
        write = MemoryWrite(
            principal.workspace_id,
            store_id,
            self._clock.now(),
            "",
            key,
            item_id,
            deleted=True,
            purged=purge,
            matching=matching,
            writer=MemoryWriter(key_id=principal.key_id),
            limits=self._store.limits,
        )
        await self._store.write(write)
        if purge:
            await self._erase()

    async def item(self, principal: Principal, store_id: str, ref: str) -> MemoryItem:
        """Return an item by key or id. Raises MemoryStoreNotFound, MemoryItemNotFound."""
        _require_reader(principal)
        key, item_id = _named(ref)
        return await self._store.item(principal.workspace_id, store_id, key or item_id or "")

    async def items(
        self, principal: Principal, store_id: str, prefix: str, after: str, limit: int
    ) -> tuple[list[MemoryItem], bool]:
        """Return items by key from behind `after`, and whether there are more."""
        _require_reader(principal)
        found = await self._store.items(
            principal.workspace_id, store_id, checked_prefix(prefix), after, limit
        )
        return found[:limit], len(found) > limit

    async def versions(
        self, principal: Principal, store_id: str, item_id: str, before: int, limit: int
    ) -> tuple[list[MemoryVersion], bool]:
        """Return an item's versions older than `before`, newest first, and whether there are more.

        Raises MemoryStoreNotFound, MemoryItemNotFound.
        """
        _require_reader(principal)
        where = (principal.workspace_id, store_id, item_id)
        found = await self._store.versions(*where, before, limit)
        if not found and not await self._store.versions(*where, 1 << 62, 1):
            raise MemoryItemNotFound
        return found[:limit], len(found) > limit

    async def redact(
        self, principal: Principal, store_id: str, item_id: str, number: int
    ) -> MemoryVersion:
        """Take the content out of a version for good; that it was written stays.

        Raises MemoryStoreNotFound, MemoryItemNotFound, MissingScope, Conflict for what the item
        holds now.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        which = (principal.workspace_id, store_id, item_id, number)
        found = await self._store.redact(*which, self._clock.now())
        await self._erase()
        return found

    async def search(self, principal: Principal, store_id: str, wanted: Search) -> Found:
        """Return the items of a store that a search finds, see `MemorySearch.search`.

        A blank query finds every item. The query's vector is charged to the key and the workspace.
        Raises MissingScope, QuotaExceeded if their budgets have no room for it, and what that
        raises.
        """
        _require_reader(principal)
        assert self._search is not None
        account = uncharged if self._charges is None else partial(self._charges.embed, principal)
        return await self._search.search(principal.workspace_id, (store_id,), wanted, account)

    # --- executions

    async def of_agent(
        self, workspace_id: str, named: Sequence[NamedStore]
    ) -> tuple[MemoryAccess, ...]:
        """Return the stores of these names, without those that are deleted or archived."""
        return await self._store.of_names(workspace_id, named)

    async def of_execution(
        self, principal: Principal, wanted: Sequence[MemoryAccess]
    ) -> tuple[MemoryAccess, ...]:
        """Return the stores that an execution is to have, checked.

        Raises MemoryStoreNotFound and MemoryArchived, naming the index, and InvalidField for too
        many or one given twice.
        """
        if not wanted:
            return ()
        if len(wanted) > MAX_STORES:
            raise InvalidField(
                f"An execution has at most {MAX_STORES} memory stores.", param="memoryStores"
            )
        ids = [store.id for store in wanted]
        found = await self._store.get_all(principal.workspace_id, ids)
        for index, (store_id, store) in enumerate(zip(ids, found, strict=True)):
            param = f"memoryStores.{index}"
            if store is None:
                raise MemoryStoreNotFound(f"There is no memory store {store_id}.", param=param)
            if store_id in ids[:index]:
                raise InvalidField(f"The memory store {store_id} is given twice.", param=param)
            if store.archived_at is not None:
                raise MemoryArchived(f"The memory store {store_id} is archived.", param=param)
        return tuple(wanted)


def _named(ref: str) -> tuple[str | None, str | None]:
    """Return the key, or the id of the item that a request names. Raises InvalidField."""
    if is_item_id(ref):
        return None, ref
    return checked_key(ref), None


def _require_reader(principal: Principal) -> None:
    """Raise MissingScope unless the key may read executions or run agents."""
    if Scope.AGENTS_EXECUTE not in principal.scopes:
        principal.require(Scope.EXECUTIONS_READ)
