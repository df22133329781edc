"""Tries without progress, end users, metadata that lists filter by, retired agents, cut turns."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
oldest = "0007"
"""Older code would show a model the turns that a client has cut, and cannot read newer steps."""

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.execute(sa.text(f"UPDATE compatibility SET oldest = '{oldest}'"))
    op.add_column(
        "executions", sa.Column("tries", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.add_column("executions", sa.Column("end_user", sa.Text(), nullable=True))
    op.add_column(
        "executions",
        sa.Column("superseded", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.add_column("executions", sa.Column("message_id", sa.Text(), nullable=True))
    _index(
        "executions",
        "message_id",
        ["workspace_id", "conversation_id", "message_id", "turn"],
        "message_id IS NOT NULL",
    )
    op.add_column(
        "executions",
        sa.Column("purging", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    _index("executions", "purging", ["id"], "purging")
    _index("executions", "end_user", ["workspace_id", "end_user", "id"], "end_user IS NOT NULL")
    op.add_column("conversations", sa.Column("end_user", sa.Text(), nullable=True))
    op.drop_index("ix_conversations_workspace_id_id", "conversations")  # the primary key finds them
    op.create_index(
        "ix_conversations_workspace_id_last_active_at_id",
        "conversations",
        ["workspace_id", "last_active_at", "id"],
    )
    op.create_index(
        "ix_conversations_agent_id",
        "conversations",
        ["workspace_id", "agent_id", "last_active_at", "id"],
    )
    _index(
        "conversations",
        "end_user",
        ["workspace_id", "end_user", "last_active_at", "id"],
        "end_user IS NOT NULL",
    )
    op.create_index("ix_keys_revoked_at", "keys", ["revoked_at"])
    op.add_column("agents", sa.Column("retired_at", sa.BigInteger(), nullable=True))
    op.add_column("agents", sa.Column("source", sa.Text(), server_default="file", nullable=False))
    op.create_table(
        "agents_files",
        sa.Column("workspace_id", _ID, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workspace_id", "source", "digest", name="pk_agents_files"),
    )
    op.create_table(
        "maintenance_leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("works", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_maintenance_leases"),
    )
    op.create_table(
        "execution_metadata",
        sa.Column("workspace_id", _ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("execution_id", _ID, nullable=False),
        sa.PrimaryKeyConstraint(
            "workspace_id", "name", "value", "execution_id", name="pk_execution_metadata"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_execution_metadata_execution_id", "execution_metadata", ["execution_id"], unique=False
    )


def _index(table: str, name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(
        f"ix_{table}_{name}",
        table,
        columns,
        unique=False,
        sqlite_where=condition,
        postgresql_where=condition,
    )
