"""The statements of memory stores, and what their rows mean."""

from collections.abc import Sequence
from typing import Any, Final

import orjson
from sqlalchemy import (
    BigInteger,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    null,
    select,
    update,
)

from outlast.model.memory import (
    EmbeddingState,
    MemoryItem,
    MemoryStore,
    MemoryVersion,
    MemoryWriter,
    VectorsState,
    WrittenMemory,
)
from outlast.store.driver import Row, Statement
from outlast.store.memory.tables import (
    memory_items,
    memory_stores,
    memory_vectors,
    memory_versions,
)
from outlast.store.tables import ByDatabase
from outlast.store.workspaces import workspaces

# --- stores

_OWN_STORE: Final = (
    memory_stores.c.id == bindparam("store"),
    memory_stores.c.workspace_id == bindparam("workspace"),
    memory_stores.c.deleted.is_(False),
)
_PENDING: Final = (
    select(func.count())
    .where(memory_vectors.c.store_id == memory_stores.c.id, memory_vectors.c.due_at.is_not(None))
    .scalar_subquery()
)
_PLAIN: Final = (
    *tuple(memory_stores.c)[:10],
    memory_stores.c.embedding,
    memory_stores.c.dimensions,
    memory_stores.c.embed_error,
    memory_stores.c.vectors_changed,
    memory_stores.c.vectors_deleted,
)
_STORE: Final = (*_PLAIN, _PENDING)
_PLAN: Final = (
    select(workspaces.c.plan).where(workspaces.c.id == memory_stores.c.workspace_id)
).scalar_subquery()
_WRITTEN_STORE: Final = (
    memory_stores.c.id == bindparam("given_store"),
    memory_stores.c.workspace_id == bindparam("given_workspace"),
)

INSERT_MEMORY_STORE: Final = Statement(insert(memory_stores))
MEMORY_STORE: Final = Statement(select(*_STORE).where(*_OWN_STORE))
LOCK_MEMORY_STORE: Final = Statement(
    select(*_PLAIN, literal_column("0"), _PLAN).where(*_OWN_STORE).with_for_update()
)
"""With its workspace's plan. A store is locked behind an execution, and behind nothing else."""

_page: Final = select(*_STORE).where(
    memory_stores.c.workspace_id == bindparam("workspace"), memory_stores.c.deleted.is_(False)
)
_newest_first: Final = memory_stores.c.id.desc()
MEMORY_STORES: Final = Statement(_page.order_by(_newest_first).limit(bindparam("limit")))
MEMORY_STORES_AFTER: Final = Statement(
    _page.where(memory_stores.c.id < bindparam("after"))
    .order_by(_newest_first)
    .limit(bindparam("limit"))
)
MEMORY_STORES_BEFORE: Final = Statement(
    _page.where(memory_stores.c.id > bindparam("before"))
    .order_by(memory_stores.c.id)
    .limit(bindparam("limit"))
)
MEMORY_STORES_NAMED: Final = Statement(
    _page.where(memory_stores.c.name == bindparam("name"))
    .order_by(memory_stores.c.id)
    .limit(bindparam("limit"))
)
"""Of this name, the oldest first: names are for people, files and models."""

EMBEDDING_MODELS: Final = Statement(
    select(memory_stores.c.embedding)
    .where(memory_stores.c.embedding.is_not(None), memory_stores.c.deleted.is_(False))
    .distinct()
)
"""Of all workspaces."""

UPDATE_MEMORY_STORE: Final = Statement(
    update(memory_stores)
    .where(*_WRITTEN_STORE)
    .values(
        name=bindparam("new_name"),
        description=bindparam("new_description"),
        metadata=bindparam("new_metadata"),
        archived_at=bindparam("new_archived_at"),
        updated_at=bindparam("at"),
    )
)
_EMBED: Final = bindparam("embed", type_=BigInteger)
_MORE_ITEMS: Final = bindparam("more_items", type_=BigInteger)
_NEXT_CHANGE: Final = memory_stores.c.vectors_changed + literal_column("1")
_FEWER: Final = literal_column("0") > _MORE_ITEMS
COUNT_MEMORY: Final = Statement(
    update(memory_stores)
    .where(*_WRITTEN_STORE)
    .values(
        items=memory_stores.c["items"] + _MORE_ITEMS,
        bytes=memory_stores.c.bytes + bindparam("more_bytes", type_=BigInteger),
        erasing_since=func.coalesce(
            memory_stores.c.erasing_since, bindparam("erasing", type_=BigInteger)
        ),
        embed_at=case(
            (_EMBED.is_(None), memory_stores.c.embed_at),
            (memory_stores.c.embed_tries > literal_column("0"), memory_stores.c.embed_at),
            else_=_EMBED,
        ),
        vectors_changed=case(
            (_EMBED.is_not(None) | _FEWER, _NEXT_CHANGE), else_=memory_stores.c.vectors_changed
        ),
        vectors_deleted=case((_FEWER, _NEXT_CHANGE), else_=memory_stores.c.vectors_deleted),
    )
)
"""`embed`: when the vector of what was written is to be made; NULL: it needs none. A store whose
model has failed waits for its next try."""
HIDE_MEMORY_STORE: Final = Statement(
    update(memory_stores)
    .where(*_WRITTEN_STORE)
    .values(
        deleted=True,
        erasing_since=bindparam("at"),
        name=bindparam("no_text"),
        embed_at=null(),
        embed_error=null(),
    )
)

# --- items

ITEM: Final = tuple(memory_items.c)[1:12]
_OF_STORE: Final = memory_items.c.store_id == bindparam("store")
MEMORY_ITEM: Final = Statement(
    select(*ITEM).where(_OF_STORE, memory_items.c.key == bindparam("key"))
)
MEMORY_ITEM_BY_ID: Final = Statement(
    select(*ITEM).where(_OF_STORE, memory_items.c.id == bindparam("id"))
)
_VALUES: Final = ("key", "content", "metadata", "sha256", "bytes", "updated_at", "writer", "words")
INSERT_MEMORY_ITEM: Final = Statement(
    insert(memory_items)
    .inline()
    .values({name: bindparam(name) for name in ("id", "store_id", "version", "created_at")})
    .values({name: bindparam(name) for name in _VALUES})
)
UPDATE_MEMORY_ITEM: Final = Statement(
    update(memory_items)
    .where(memory_items.c.id == bindparam("given_id"))
    .values({name: bindparam(f"new_{name}") for name in (*_VALUES, "version")})
)
DELETE_MEMORY_ITEM: Final = Statement(
    delete(memory_items).where(memory_items.c.id == bindparam("id"))
)
MEMORY_ITEMS: Final = Statement(
    select(*ITEM)
    .where(
        _OF_STORE,
        memory_items.c.key > bindparam("after"),
        memory_items.c.key >= bindparam("from_key"),
        memory_items.c.key < bindparam("until_key"),
    )
    .order_by(memory_items.c.key)
    .limit(bindparam("limit"))
)
_newest_items: Final = (
    select(*ITEM)
    .where(_OF_STORE)
    .order_by(memory_items.c.updated_at.desc(), memory_items.c.id.desc())
    .limit(bindparam("limit"))
)
NEWEST_MEMORY_ITEMS: Final = Statement(_newest_items)
_below: Final = _newest_items.where(
    memory_items.c.key >= bindparam("from_key"), memory_items.c.key < bindparam("until_key")
)
NEWEST_MEMORY_ITEMS_BELOW: Final = Statement(_below)

# --- versions

_ONE_VERSION: Final = (
    memory_versions.c.item_id == bindparam("item"),
    memory_versions.c.version == bindparam("number"),
)
INSERT_MEMORY_VERSION: Final = Statement(insert(memory_versions))
MEMORY_VERSIONS: Final = Statement(
    select(*memory_versions.c)
    .where(
        memory_versions.c.item_id == bindparam("id"),
        memory_versions.c.store_id == bindparam("store"),
        memory_versions.c.version < bindparam("before"),
    )
    .order_by(memory_versions.c.version.desc())
    .limit(bindparam("limit"))
)
MEMORY_VERSION: Final = Statement(
    select(*memory_versions.c).where(
        *_ONE_VERSION, memory_versions.c.store_id == bindparam("store")
    )
)
REDACT_MEMORY_VERSION: Final = Statement(
    update(memory_versions)
    .where(*_ONE_VERSION)
    .values(content=null(), sha256=bindparam("no_text"), redacted_at=bindparam("at"))
)
MEMORY_OF_EXECUTION: Final = Statement(
    select(
        memory_versions.c.writer,
        memory_versions.c.store_id,
        memory_versions.c.item_id,
        memory_versions.c.key,
        memory_versions.c.version,
        memory_versions.c.content.is_(None) & memory_versions.c.redacted_at.is_(None),
    )
    .join(memory_stores, memory_stores.c.id == memory_versions.c.store_id)
    .where(
        memory_versions.c.execution_id == bindparam("id"),
        memory_stores.c.workspace_id == bindparam("workspace"),
        memory_stores.c.deleted.is_(False),
    )
)
DELETE_MEMORY_VERSIONS: Final = Statement(
    delete(memory_versions).where(
        memory_versions.c.item_id == bindparam("id"),
        memory_versions.c.version <= bindparam("until"),
    )
)

# --- erasing what was deleted

MEMORY_TO_ERASE: Final = Statement(
    select(memory_stores.c.id, memory_stores.c.deleted, memory_stores.c.erasing_since)
    .where(memory_stores.c.erasing_since.is_not(None))
    .order_by(memory_stores.c.erasing_since)
    .limit(literal_column("1"))
    .with_for_update(skip_locked=True)
)
"""Of all workspaces: the store whose deleted content is left longest."""

ERASE_MEMORY_ITEMS: Final = Statement(
    delete(memory_items)
    .where(
        memory_items.c.number.in_(
            select(memory_items.c.number)
            .where(_OF_STORE)
            .order_by(memory_items.c.key)
            .limit(bindparam("limit"))
        )
    )
    .returning(memory_items.c.id)
)
_versions_left: Final = (
    select(memory_versions.c.item_id)
    .where(memory_versions.c.store_id == bindparam("store"))
    .order_by(memory_versions.c.item_id)
    .limit(literal_column("1"))
)
VERSIONS_LEFT: Final = Statement(_versions_left)
ERASE_MEMORY_VERSIONS: Final = Statement(
    delete(memory_versions).where(memory_versions.c.item_id == bindparam("id"))
)
ERASE_MEMORY_STORE: Final = Statement(
    delete(memory_stores).where(memory_stores.c.id == bindparam("store"))
)
ERASED_MEMORY: Final = Statement(
    update(memory_stores)
    .where(memory_stores.c.id == bindparam("given_store"))
    .values(erasing_since=null())
)
MERGE_WORDS: Final = Statement(
    ByDatabase("INSERT INTO memory_words(memory_words) VALUES ('optimize')", "SELECT 1")
)
"""Rewrites the index of words: until then FTS5 keeps deleted words. GIN keeps none to be read."""


def store_from(row: Sequence[Any]) -> MemoryStore:
    """Return the store of a row of `_STORE`."""
    (
        store_id,
        workspace_id,
        name,
        description,
        given,
        created_at,
        updated_at,
        archived_at,
        items,
        size,
        embedding,
        dimensions,
        error,
        changed,
        deleted,
        pending,
    ) = row
    return MemoryStore(
        store_id,
        workspace_id,
        name,
        created_at,
        updated_at,
        description,
        orjson.loads(given),
        archived_at,
        items,
        size,
        None
        if embedding is None
        else EmbeddingState(embedding, dimensions, pending, error, VectorsState(changed, deleted)),
    )


def item_from(row: Row) -> MemoryItem:
    """Return the item of a row of `_ITEM`."""
    item_id, store_id, key, content, given, sha256, size, version, created, updated, writer = row
    return MemoryItem(
        item_id,
        store_id,
        key,
        content,
        orjson.loads(given),
        sha256,
        size,
        version,
        created,
        updated,
        MemoryWriter(**orjson.loads(writer)),
    )


def version_from(row: Row) -> MemoryVersion:
    """Return the version of a row with all columns."""
    item_id, version, _, key, content, sha256, at, given, redacted_at, _ = row
    writer = MemoryWriter(**orjson.loads(given))
    return MemoryVersion(item_id, version, key, content, sha256, at, writer, redacted_at)


def written_from(row: Row) -> WrittenMemory:
    """Return the written memory of a row of `MEMORY_OF_EXECUTION`."""
    writer, store_id, item_id, key, version, deleted = row
    step = orjson.loads(writer)["step"]
    return WrittenMemory(step, store_id, item_id, key, version, bool(deleted))
