"""What decides approvals, pauses, resumes and rolls back; all of it is added, nothing changed."""

from typing import Any

import sqlalchemy as sa
from alembic import op

from outlast.store.tables import Json

revision = "0003"
down_revision = "0002"
oldest = "0001"
"""Code that knows this schema still works on the database."""

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    for column in (
        sa.Column("pause_requested", Json(), nullable=True),
        sa.Column("superseded_tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("superseded_to", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("resumed_ms", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("state", Json(), nullable=True),
    ):
        op.add_column("executions", column)
    op.add_column("checkpoints", sa.Column("missing", Json(), nullable=True))
    added: tuple[sa.Column[Any], ...] = (
        sa.Column("step", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("begun_at", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("expires_approved", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("superseded", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("workspace_id", _ID, nullable=True),
    )
    for column in added:
        op.add_column("approvals", column)
    op.execute(
        sa.text(
            "UPDATE approvals SET workspace_id = (SELECT executions.workspace_id FROM executions "
            "WHERE executions.id = approvals.execution_id)"
        )
    )
    for name, table, columns, condition in (
        (
            "ix_executions_pause_requested",
            "executions",
            ["id"],
            "pause_requested IS NOT NULL AND completed_at IS NULL",
        ),
        (
            "ix_approvals_open",
            "approvals",
            ["workspace_id", "execution_id", "tool_call_id"],
            "decided_at IS NULL",
        ),
        (
            "ix_approvals_expires_at",
            "approvals",
            ["expires_at"],
            "decided_at IS NULL AND expires_at IS NOT NULL",
        ),
    ):
        op.create_index(
            name,
            table,
            columns,
            unique=False,
            sqlite_where=sa.text(condition),
            postgresql_where=sa.text(condition),
        )
