"""Versions of memory items that were redacted, and the execution that wrote each.

It expands only. What an older process writes beside newer ones is missing in lists of checkpoints.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_BACKFILL = {
    "sqlite": "json_extract(writer, '$.execution_id')",
    "postgresql": "writer ->> 'execution_id'",
}


def upgrade() -> None:
    op.add_column("memory_versions", sa.Column("redacted_at", sa.BigInteger(), nullable=True))
    op.add_column("memory_versions", sa.Column("execution_id", _ID, nullable=True))
    found = _BACKFILL[op.get_bind().dialect.name]
    op.execute(f"UPDATE memory_versions SET execution_id = {found} WHERE {found} IS NOT NULL")
    some = sa.text("execution_id IS NOT NULL")
    op.create_index(
        "ix_memory_versions_execution_id",
        "memory_versions",
        ["execution_id"],
        sqlite_where=some,
        postgresql_where=some,
    )
