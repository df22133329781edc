"""The tables of memory stores."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from outlast.store.tables import (
    added_count,
    added_flag,
    count,
    identifier,
    index_of_some,
    json,
    metadata,
    time,
)

memory_stores: Final = Table(
    "memory_stores",
    metadata,
    identifier("id", primary_key=True),
    identifier("workspace_id"),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    json("metadata"),
    time("created_at"),
    time("updated_at"),
    time("archived_at", nullable=True),
    count("items"),
    count("bytes"),
    time("erasing_since", nullable=True),
    added_flag("deleted"),
    Column("embedding", Text),
    count("dimensions", nullable=True),
    time("embed_at", nullable=True),
    added_count("embed_tries"),
    Column("embed_error", Text),
    # Since 0022:
    added_count("vectors_changed"),
    added_count("vectors_deleted"),
    Index(None, "workspace_id", "id"),
    index_of_some("memory_stores", "erasing_since", "erasing_since"),
    index_of_some("memory_stores", "embed_at", "embed_at"),
)
"""`erasing_since`: something was deleted whose words may be left in the index. A `deleted` store is
hidden, and emptied in batches. `embed_at`: when items that wait for their vectors are to be tried;
NULL: none waits. `embed_tries` and `embed_error` are of tries that have failed since the last one
that succeeded. `vectors_changed` counts the transactions that have changed vectors of the store,
and `vectors_deleted` is its value after the last one that has deleted any."""

memory_items: Final = Table(
    "memory_items",
    metadata,
    Column("number", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True),
    identifier("id"),
    identifier("store_id"),
    identifier("key"),
    Column("content", Text, nullable=False),
    json("metadata"),
    Column("sha256", Text, nullable=False),
    count("bytes"),
    count("version"),
    time("created_at"),
    time("updated_at"),
    json("writer"),
    Column("words", Text, nullable=False),
    UniqueConstraint("id"),
    UniqueConstraint("store_id", "key"),
    Index(None, "store_id", "updated_at", "id"),
)
"""`number` is what FTS5 knows an item by."""

memory_versions: Final = Table(
    "memory_versions",
    metadata,
    identifier("item_id", primary_key=True),
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    identifier("store_id"),
    identifier("key"),
    Column("content", Text),
    Column("sha256", Text, nullable=False),
    time("at"),
    json("writer"),
    # Since 0020:
    time("redacted_at", nullable=True),
    identifier("execution_id", nullable=True),
    Index(None, "store_id", "item_id"),
    index_of_some("memory_versions", "execution_id", "execution_id"),
)
"""`content` is NULL in the version that a deletion makes, and in one that was redacted.
`execution_id`: that of the writer."""

memory_vectors: Final = Table(
    "memory_vectors",
    metadata,
    identifier("store_id", primary_key=True),
    identifier("item_id", primary_key=True),
    Column("version", BigInteger, nullable=False),
    time("due_at", nullable=True),
    Column("vector", LargeBinary),
    # Since 0022:
    added_count("changed"),
    index_of_some("memory_vectors", "due_at", "store_id", "due_at"),
    Index("ix_memory_vectors_changed", "store_id", "changed", "item_id"),
)
"""A row for each item of a store with an embedding model, written with the item. `version`: the
item's when its text last changed; until `due_at` is NULL it waits for its vector. `changed`: the
store's `vectors_changed` when `vector` last changed."""
