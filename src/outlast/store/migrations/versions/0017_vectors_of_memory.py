"""Vectors of the items of memory stores, and the stores' embedding models.

It expands only: older processes may run beside it. What an older process writes to a store with an
embedding model is found by its words; its vector stays that of the text before, or missing, until a
newer process writes the item again. So upgrade all processes before the first such store is made.
"""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("memory_stores", sa.Column("embedding", sa.Text(), nullable=True))
    op.add_column("memory_stores", sa.Column("dimensions", sa.BigInteger(), nullable=True))
    op.add_column("memory_stores", sa.Column("embed_at", sa.BigInteger(), nullable=True))
    op.add_column(
        "memory_stores",
        sa.Column("embed_tries", sa.BigInteger(), nullable=False, server_default="0"),
    )
    op.add_column("memory_stores", sa.Column("embed_error", sa.Text(), nullable=True))
    _index("memory_stores", "embed_at", ["embed_at"])
    op.create_table(
        "memory_vectors",
        sa.Column("store_id", _ID, nullable=False),
        sa.Column("item_id", _ID, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("vector", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("store_id", "item_id", name="pk_memory_vectors"),
    )
    _index("memory_vectors", "due_at", ["store_id", "due_at"])


def _index(table: str, name: str, columns: list[str]) -> None:
    some = sa.text(f"{name} IS NOT NULL")
    op.create_index(f"ix_{table}_{name}", table, columns, sqlite_where=some, postgresql_where=some)
