"""What many workers need: find what is to be cancelled or taken up; say which versions may work."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
oldest = "0001"
"""Code that knows this schema still works on the database."""


def upgrade() -> None:
    op.create_table("compatibility", sa.Column("oldest", sa.Text(), nullable=False))
    op.execute(sa.text("INSERT INTO compatibility (oldest) VALUES ('0001')"))
    for name, columns, condition in (
        (
            "ix_executions_cancel_requested",
            ["id"],
            "cancel_requested AND completed_at IS NULL",
        ),
        (
            "ix_executions_unfinished",
            ["id"],
            "status IN ('queued','running') AND completed_at IS NULL",
        ),
    ):
        op.create_index(
            name,
            "executions",
            columns,
            unique=False,
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )
