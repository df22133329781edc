"""The bytes of images that tools bring, and the executions that refer to them. It expands only."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "blobs",
        sa.Column("workspace_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "id", name="pk_blobs"),
    )
    op.create_table(
        "blob_refs",
        sa.Column("execution_id", _ID, nullable=False),
        sa.Column("blob_id", _ID, nullable=False),
        sa.Column("workspace_id", _ID, nullable=False),
        sa.PrimaryKeyConstraint("execution_id", "blob_id", name="pk_blob_refs"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_blob_refs_workspace_id_blob_id", "blob_refs", ["workspace_id", "blob_id"])
