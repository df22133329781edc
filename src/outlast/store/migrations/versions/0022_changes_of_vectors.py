"""When vectors of memory stores have changed, so that processes may keep them between searches.

It expands only. A process that is older than this and changes vectors does not count that: until it
has ended, a newer one may find by the vector of an item's former text, or find an item late.
"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    for table, name in (
        ("memory_stores", "vectors_changed"),
        ("memory_stores", "vectors_deleted"),
        ("memory_vectors", "changed"),
    ):
        counted = sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
        op.add_column(table, counted)
    op.create_index(
        "ix_memory_vectors_changed", "memory_vectors", ["store_id", "changed", "item_id"]
    )
