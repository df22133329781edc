"""What tasks say beside their executions, and since when somebody has an execution."""

import sqlalchemy as sa
from alembic import op

from outlast.store.tables import Json

revision = "0005"
down_revision = "0004"
oldest = "0005"
"""Older code would run a task that its client drives."""

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.execute(sa.text(f"UPDATE compatibility SET oldest = '{oldest}'"))
    op.add_column("executions", sa.Column("active_since", sa.BigInteger(), nullable=True))
    op.create_table(
        "tasks",
        sa.Column("execution_id", _ID, nullable=False),
        sa.Column("workspace_id", _ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("task_type", sa.Text(), nullable=False),
        sa.Column("config", Json(), nullable=False),
        sa.Column("first_state", Json(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("changed", sa.Boolean(), nullable=False),
        sa.Column("saved_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("execution_id", name="pk_tasks"),
    )
    condition = sa.text("due_at IS NOT NULL")
    op.create_index(
        "ix_tasks_due_at",
        "tasks",
        ["due_at"],
        unique=False,
        sqlite_where=condition,
        postgresql_where=condition,
    )
