"""Memory stores: their items with an index of words, versions, and the stores of an execution.

It expands only: older processes may run beside it. An execution with stores that an older process
runs meanwhile has no tools for them.
"""

import sqlalchemy as sa
from alembic import op

from outlast.store.tables import Json

revision = "0015"
down_revision = "0014"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_WORDS = {
    "sqlite": (
        (
            "CREATE VIRTUAL TABLE memory_words USING fts5(words, content='memory_items', "
            "content_rowid='number', tokenize='ascii', detail='none', columnsize=0)"
        ),
        (
            "CREATE TRIGGER memory_items_inserted AFTER INSERT ON memory_items BEGIN "
            "INSERT INTO memory_words(rowid, words) VALUES (new.number, new.words); END"
        ),
        (
            "CREATE TRIGGER memory_items_deleted AFTER DELETE ON memory_items BEGIN "
            "INSERT INTO memory_words(memory_words, rowid, words) "
            "VALUES ('delete', old.number, old.words); END"
        ),
        (
            "CREATE TRIGGER memory_items_updated AFTER UPDATE OF words ON memory_items BEGIN "
            "INSERT INTO memory_words(memory_words, rowid, words) "
            "VALUES ('delete', old.number, old.words); "
            "INSERT INTO memory_words(rowid, words) VALUES (new.number, new.words); END"
        ),
    ),
    "postgresql": (
        (
            "CREATE INDEX ix_memory_items_words ON memory_items USING gin "
            "(array_to_tsvector(string_to_array(words, ' '))) WITH (fastupdate = off)"
        ),
    ),
}


def upgrade() -> None:
    _create_stores()
    _create_items()
    _create_versions()
    for statement in _WORDS[op.get_bind().dialect.name]:
        op.execute(statement)
    op.add_column("executions", sa.Column("memory_stores", Json(), nullable=True))


def _create_stores() -> None:
    op.create_table(
        "memory_stores",
        _id("id"),
        _id("workspace_id"),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("metadata", Json(), nullable=False),
        _number("created_at"),
        _number("updated_at"),
        sa.Column("archived_at", sa.BigInteger(), nullable=True),
        _number("items"),
        _number("bytes"),
        sa.Column("erasing_since", sa.BigInteger(), nullable=True),
        sa.Column(
            "deleted",
            sa.Boolean(create_constraint=False),
            nullable=False,
            server_default=sa.false(),
        ),
        sa.PrimaryKeyConstraint("id", name="pk_memory_stores"),
    )
    op.create_index("ix_memory_stores_workspace_id_id", "memory_stores", ["workspace_id", "id"])
    left = sa.text("erasing_since IS NOT NULL")
    op.create_index(
        "ix_memory_stores_erasing_since",
        "memory_stores",
        ["erasing_since"],
        sqlite_where=left,
        postgresql_where=left,
    )


def _create_items() -> None:
    op.create_table(
        "memory_items",
        sa.Column(
            "number",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            autoincrement=True,
        ),
        _id("id"),
        _id("store_id"),
        _id("key"),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("metadata", Json(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        _number("bytes"),
        _number("version"),
        _number("created_at"),
        _number("updated_at"),
        sa.Column("writer", Json(), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_memory_items"),
        sa.UniqueConstraint("id", name="uq_memory_items_id"),
        sa.UniqueConstraint("store_id", "key", name="uq_memory_items_store_id_key"),
    )
    op.create_index(
        "ix_memory_items_store_id_updated_at_id", "memory_items", ["store_id", "updated_at", "id"]
    )


def _create_versions() -> None:
    op.create_table(
        "memory_versions",
        _id("item_id"),
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        _id("store_id"),
        _id("key"),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=False),
        _number("at"),
        sa.Column("writer", Json(), nullable=False),
        sa.PrimaryKeyConstraint("item_id", "version", name="pk_memory_versions"),
    )
    op.create_index(
        "ix_memory_versions_store_id_item_id", "memory_versions", ["store_id", "item_id"]
    )


def _id(name: str) -> sa.Column[str]:
    return sa.Column(name, _ID, nullable=False)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)
