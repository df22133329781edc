"""The vectors of items: those that wait to be made, and those that a search reads.

An item that is written gets, in the same commit, a row that is due (see `memory.write`); a duty
makes its vector later. So nothing waits for a model in a transaction, and a crash loses nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    BigInteger,
    LargeBinary,
    Text,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    null,
    select,
    tuple_,
    update,
)

from outlast.model.embedding import MAX_EMBEDDED, embedded_text
from outlast.model.memory import MemoryItem, above
from outlast.store.driver import (
    Driver,
    Part,
    Query,
    Row,
    Statement,
    Together,
    Transaction,
    TransactionResult,
)
from outlast.store.memory.rows import MEMORY_ITEM_BY_ID, item_from
from outlast.store.memory.tables import memory_items, memory_stores, memory_vectors

_PAGE: Final = 2000
"""Vectors that are read at a time: so long a search keeps the event loop on Postgres."""
_LAST: Final = "~"
"""Behind all ids."""

_OF_STORE: Final = memory_vectors.c.store_id == bindparam("store")
_OF_ITEM: Final = (_OF_STORE, memory_vectors.c.item_id == bindparam("item"))
_THIS_CHANGE: Final = (
    select(memory_stores.c.vectors_changed + literal_column("1"))
    .where(memory_stores.c.id == bindparam("of_store"))
    .scalar_subquery()
)
"""Of the transaction, which has locked the store and counts the change later."""

INSERT_VECTOR: Final = Statement(
    insert(memory_vectors).values(
        store_id=bindparam("of_store"),
        item_id=bindparam("of_item"),
        version=bindparam("new_version"),
        due_at=bindparam("due"),
        vector=null(),
    )
)
RENEW_VECTOR: Final = Statement(
    update(memory_vectors)
    .where(
        memory_vectors.c.store_id == bindparam("of_store"),
        memory_vectors.c.item_id == bindparam("of_item"),
    )
    .values(
        version=bindparam("new_version"),
        due_at=bindparam("due"),
        vector=null(),
        changed=_THIS_CHANGE,
    )
)
"""The vector of the former text is gone with it."""
DELETE_VECTOR: Final = Statement(delete(memory_vectors).where(*_OF_ITEM))
ERASE_VECTORS: Final = Statement(
    delete(memory_vectors)
    .where(
        _OF_STORE,
        memory_vectors.c.item_id.in_(
            select(memory_vectors.c.item_id)
            .where(_OF_STORE)
            .order_by(memory_vectors.c.item_id)
            .limit(bindparam("limit"))
        ),
    )
    .returning(memory_vectors.c.item_id)
)

# --- making them

STORES_TO_EMBED: Final = Statement(
    select(
        memory_stores.c.id,
        memory_stores.c.embedding,
        memory_stores.c.dimensions,
        memory_stores.c.embed_tries,
    )
    .where(memory_stores.c.embed_at <= bindparam("now"))
    .order_by(memory_stores.c.embed_at)
    .limit(bindparam("limit"))
)
"""Of all workspaces: the stores whose items have waited longest."""
ITEMS_TO_EMBED: Final = Statement(
    select(
        memory_vectors.c.item_id,
        memory_vectors.c.version,
        memory_items.c.key,
        func.substr(memory_items.c.content, literal_column("1"), bindparam("most")),
    )
    .join(memory_items, memory_items.c.id == memory_vectors.c.item_id)
    .where(_OF_STORE, memory_vectors.c.due_at <= bindparam("now"))
    .order_by(memory_vectors.c.due_at)
    .limit(bindparam("limit"))
)
LOCK_EMBEDDED_STORE: Final = Statement(
    select(memory_stores.c.dimensions)
    .where(memory_stores.c.id == bindparam("store"), memory_stores.c.deleted.is_(False))
    .with_for_update()
)
SET_VECTOR: Final = Statement(
    update(memory_vectors)
    .where(
        memory_vectors.c.store_id == bindparam("of_store"),
        memory_vectors.c.item_id == bindparam("of_item"),
        memory_vectors.c.version == bindparam("of_version"),
    )
    .values(
        vector=bindparam("new_vector", type_=LargeBinary),
        due_at=bindparam("due", type_=BigInteger),
        changed=_THIS_CHANGE,
    )
)
"""Nothing if the item was written or deleted meanwhile."""
NEXT_TO_EMBED: Final = Statement(
    select(memory_vectors.c.due_at)
    .where(_OF_STORE, memory_vectors.c.due_at.is_not(None))
    .order_by(memory_vectors.c.due_at)
    .limit(literal_column("1"))
)
EMBEDDED: Final = Statement(
    update(memory_stores)
    .where(memory_stores.c.id == bindparam("given_store"))
    .values(
        dimensions=bindparam("new_dimensions", type_=BigInteger),
        embed_at=bindparam("next", type_=BigInteger),
        embed_tries=bindparam("tries", type_=BigInteger),
        embed_error=bindparam("error", type_=Text),
        vectors_changed=memory_stores.c.vectors_changed + bindparam("changes", type_=BigInteger),
    )
)

# --- searching them

CHANGED_VECTORS: Final = Statement(
    select(memory_vectors.c.changed, memory_vectors.c.item_id, memory_vectors.c.vector)
    .where(
        _OF_STORE,
        tuple_(memory_vectors.c.changed, memory_vectors.c.item_id)
        > tuple_(bindparam("since", type_=BigInteger), bindparam("after", type_=Text)),
    )
    .order_by(memory_vectors.c.changed, memory_vectors.c.item_id)
    .limit(bindparam("limit"))
)
IDS_BELOW: Final = Statement(
    select(memory_items.c.id).where(
        memory_items.c.store_id == bindparam("store"),
        memory_items.c.key >= bindparam("from_key"),
        memory_items.c.key < bindparam("until_key"),
    )
)


@dataclass(frozen=True, slots=True)
class StoreToEmbed:
    """A store with items that wait for their vectors."""

    id: str
    model: str
    dimensions: int | None
    tries: int
    """Tries in a row that have failed."""


@dataclass(frozen=True, slots=True)
class ItemToEmbed:
    """An item that waits for its vector."""

    id: str
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class Made:
    """What became of an item: its vector, or when it is to be tried again."""

    item: ItemToEmbed
    vector: bytes | None
    due_at: int | None = None


def _due(now: int, limit: int) -> Transaction[list[StoreToEmbed]]:
    rows = yield Query(STORES_TO_EMBED, {"now": now, "limit": limit})
    return TransactionResult([StoreToEmbed(*row) for row in rows])


def _waiting(store_id: str, now: int, limit: int) -> Transaction[list[ItemToEmbed]]:
    given = {"store": store_id, "now": now, "limit": limit, "most": MAX_EMBEDDED}
    rows = yield Query(ITEMS_TO_EMBED, given)
    return TransactionResult(
        [
            ItemToEmbed(item_id, version, embedded_text(key, content))
            for item_id, version, key, content in rows
        ]
    )


def _keep(
    store_id: str, made: Sequence[Made], dimensions: int | None, error: str | None
) -> Transaction[None]:
    """Write vectors of items that are as they were, and when the store is due again."""
    rows = yield Query(LOCK_EMBEDDED_STORE, {"store": store_id})
    if not rows:
        return TransactionResult(None)
    for one in made:
        yield Query(
            SET_VECTOR,
            {
                "of_store": store_id,
                "of_item": one.item.id,
                "of_version": one.item.version,
                "new_vector": one.vector,
                "due": one.due_at,
            },
        )
    left = yield Query(NEXT_TO_EMBED, {"store": store_id})
    next_at = left[0][0] if left else None
    changes = 1 if made else 0
    yield _settled(store_id, dimensions or rows[0][0], next_at, 0, error, changes)
    return TransactionResult(None)


def _postpone(store_id: str, until: int, tries: int, error: str) -> Transaction[None]:
    """Write that a try has failed, and when the next one is; nothing if the store is deleted."""
    rows = yield Query(LOCK_EMBEDDED_STORE, {"store": store_id})
    if rows:
        yield _settled(store_id, rows[0][0], until, tries, error)
    return TransactionResult(None)


def _settled(
    store_id: str,
    dimensions: int | None,
    due_at: int | None,
    tries: int,
    error: str | None,
    changes: int = 0,
) -> Query:
    return Query(
        EMBEDDED,
        {
            "given_store": store_id,
            "new_dimensions": dimensions,
            "next": due_at,
            "tries": tries,
            "error": error,
            "changes": changes,
        },
    )


def _page(store_id: str, since: int, after: str) -> Transaction[list[Row]]:
    given = {"store": store_id, "since": since, "after": after, "limit": _PAGE}
    return TransactionResult((yield Query(CHANGED_VECTORS, given)))


def _below(store_id: str, prefix: str) -> Transaction[set[str]]:
    given = {"store": store_id, "from_key": prefix, "until_key": above(prefix)}
    rows = yield Query(IDS_BELOW, given)
    return TransactionResult({row[0] for row in rows})


def _items(named: Sequence[tuple[str, str]]) -> Transaction[dict[str, MemoryItem]]:
    """Read items by store and id; those that are gone are left out."""
    if not named:
        return TransactionResult({})
    answers = yield from _read(named)
    found = [item_from(row) for rows in answers for row in rows]
    return TransactionResult({item.id: item for item in found})


def _read(named: Sequence[tuple[str, str]]) -> Part[list[Row]]:
    return (
        yield Together(
            tuple(
                Query(MEMORY_ITEM_BY_ID, {"store": store_id, "id": item_id})
                for store_id, item_id in named
            )
        )
    )


class Vectors:
    """The vectors of memory stores' items."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def due(self, now: int, limit: int) -> list[StoreToEmbed]:
        """Return the stores with items to embed now."""
        return await self._driver.read(lambda: _due(now, limit))

    async def waiting(self, store_id: str, now: int, limit: int) -> list[ItemToEmbed]:
        """Return items of a store to embed now, those that have waited longest first."""
        return await self._driver.read(lambda: _waiting(store_id, now, limit))

    async def keep(
        self,
        store_id: str,
        made: Sequence[Made],
        *,
        dimensions: int | None = None,
        error: str | None = None,
    ) -> None:
        """Write vectors; one of an item that was written meanwhile is dropped."""
        await self._driver.write(lambda: _keep(store_id, made, dimensions, error))

    async def postpone(self, store_id: str, until: int, tries: int, error: str) -> None:
        """Try the items of a store again later; `tries` have failed in a row."""
        await self._driver.write(lambda: _postpone(store_id, until, tries, error))

    async def changed(self, store_id: str, since: int | None) -> dict[str, bytes | None]:
        """Return the vectors that have changed after the change of this number; None: all.

        By the items' ids; None for an item that waits for its vector. What is deleted is not among
        them. What changes meanwhile may be, in its state before or after that.
        """
        found: dict[str, bytes | None] = {}
        place = (-1 if since is None else since, _LAST if since is not None else "")
        while True:
            page = await self._driver.read(lambda place=place: _page(store_id, *place))  # type: ignore[misc]
            found |= {item_id: vector for _, item_id, vector in page}
            if len(page) < _PAGE:
                return found
            place = page[-1][:2]

    async def below(self, store_id: str, prefix: str) -> set[str]:
        """Return the ids of the items whose keys begin with this."""
        return await self._driver.read(lambda: _below(store_id, prefix))

    async def items(self, named: Sequence[tuple[str, str]]) -> dict[str, MemoryItem]:
        """Return items by their ids, given with their stores; those that are gone are left out."""
        return await self._driver.read(lambda: _items(named))
