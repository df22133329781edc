"""The first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
JSON = sa.Text().with_variant(postgresql.JSONB(), "postgresql")

revision = "0001"
down_revision = None


def upgrade() -> None:
    _agent_versions()
    _agents()
    _approvals()
    _checkpoints()
    _conversations()
    _events()
    _executions()
    _idempotency()
    _keys()
    _steps()
    _workspaces()


def _agent_versions() -> None:
    op.create_table(
        "agent_versions",
        sa.Column("agent_id", ID, nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("spec", JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("agent_id", "version", name=op.f("pk_agent_versions")),
    )


def _agents() -> None:
    op.create_table(
        "agents",
        sa.Column("id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agents")),
        sa.UniqueConstraint("workspace_id", "name", name=op.f("uq_agents_workspace_id_name")),
    )
    op.create_index(
        op.f("ix_agents_workspace_id_id"), "agents", ["workspace_id", "id"], unique=False
    )


def _approvals() -> None:
    op.create_table(
        "approvals",
        sa.Column("execution_id", ID, nullable=False),
        sa.Column("tool_call_id", ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("parameters", JSON, nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("approved", sa.Boolean(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("effective_parameters", JSON, nullable=True),
        sa.Column("result", JSON, nullable=True),
        sa.Column("decided_by", ID, nullable=True),
        sa.CheckConstraint(
            "kind IN ('approval', 'unknown_outcome')", name=op.f("ck_approvals_kind")
        ),
        sa.CheckConstraint(
            "(decided_at IS NULL) = (approved IS NULL)", name=op.f("ck_approvals_decided")
        ),
        sa.PrimaryKeyConstraint("execution_id", "tool_call_id", name=op.f("pk_approvals")),
        sqlite_with_rowid=False,
    )


def _checkpoints() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("execution_id", ID, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("state", JSON, nullable=True),
        sa.Column("superseded", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("execution_id", "id", name=op.f("pk_checkpoints")),
        sqlite_with_rowid=False,
    )


def _conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("agent_id", ID, nullable=False),
        sa.Column("turns", sa.BigInteger(), nullable=False),
        sa.Column("session", JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("last_active_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversations")),
    )
    op.create_index(
        op.f("ix_conversations_workspace_id_id"),
        "conversations",
        ["workspace_id", "id"],
        unique=False,
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("execution_id", ID, nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("segment", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("execution_id", "seq", name=op.f("pk_events")),
        sqlite_with_rowid=False,
    )


def _executions() -> None:
    op.create_table(
        "executions",
        sa.Column("id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("agent_id", ID, nullable=False),
        sa.Column("agent_version", sa.Integer(), nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("turn", sa.BigInteger(), nullable=False),
        sa.Column("parent_id", ID, nullable=True),
        sa.Column("key_id", ID, nullable=True),
        sa.Column("input", sa.Text(), nullable=False),
        sa.Column("metadata", JSON, nullable=False),
        sa.Column("session", JSON, nullable=False),
        sa.Column("budget", JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("segment", sa.BigInteger(), nullable=False),
        sa.Column("waiting", sa.Boolean(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("completed_at", sa.BigInteger(), nullable=True),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("error", JSON, nullable=True),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_read_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), nullable=False),
        sa.Column("usage_estimated", sa.Boolean(), nullable=False),
        sa.Column("steps", sa.BigInteger(), nullable=False),
        sa.Column("final_model", sa.Text(), nullable=True),
        sa.Column("first_token_ms", sa.BigInteger(), nullable=True),
        sa.Column("tool_ms", sa.BigInteger(), nullable=False),
        sa.Column("active_ms", sa.BigInteger(), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("is_purged", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "(status = 'failed') = (error IS NOT NULL)",
            name=op.f("ck_executions_error_when_failed"),
        ),
        sa.CheckConstraint(
            "(status IN ('completed','failed','cancelled')) = (completed_at IS NOT NULL)",
            name=op.f("ck_executions_completed_at_when_terminal"),
        ),
        sa.CheckConstraint(
            "status <> 'running' OR started_at IS NOT NULL",
            name=op.f("ck_executions_started_at_when_running"),
        ),
        sa.CheckConstraint(
            "status = 'queued' OR NOT waiting", name=op.f("ck_executions_waiting_only_when_queued")
        ),
        sa.CheckConstraint(
            "status IN ('queued','running','suspended','paused','completed','failed','cancelled')",
            name=op.f("ck_executions_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_executions")),
    )
    op.create_index(
        op.f("ix_executions_workspace_id_conversation_id_id"),
        "executions",
        ["workspace_id", "conversation_id", "id"],
        unique=False,
    )
    op.create_index(
        "ix_executions_live",
        "executions",
        ["workspace_id", "conversation_id", "completed_at", "id"],
        unique=False,
        sqlite_where=sa.text("completed_at IS NULL"),
        postgresql_where=sa.text("completed_at IS NULL"),
    )
    op.create_index(
        "ix_executions_parent_id",
        "executions",
        ["parent_id", "id"],
        unique=False,
        sqlite_where=sa.text("parent_id IS NOT NULL"),
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_executions_workspace_id_agent_id_id"),
        "executions",
        ["workspace_id", "agent_id", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_executions_workspace_id_id"), "executions", ["workspace_id", "id"], unique=False
    )
    op.create_index(
        op.f("ix_executions_workspace_id_status_id"),
        "executions",
        ["workspace_id", "status", "id"],
        unique=False,
    )


def _idempotency() -> None:
    op.create_table(
        "idempotency",
        sa.Column("key_id", ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("execution_id", ID, nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "key", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_created_at"), "idempotency", ["created_at"], unique=False)
    op.create_index(
        op.f("ix_idempotency_execution_id"), "idempotency", ["execution_id"], unique=False
    )


def _keys() -> None:
    op.create_table(
        "keys",
        sa.Column("id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("agent_id", ID, nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
        sa.UniqueConstraint("hash", name=op.f("uq_keys_hash")),
    )
    op.create_index(op.f("ix_keys_workspace_id_id"), "keys", ["workspace_id", "id"], unique=False)


def _steps() -> None:
    op.create_table(
        "steps",
        sa.Column("execution_id", ID, nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("data", JSON, nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("superseded", sa.Boolean(), nullable=False),
        sa.CheckConstraint("kind IN ('model', 'tool')", name=op.f("ck_steps_kind")),
        sa.PrimaryKeyConstraint("execution_id", "number", name=op.f("pk_steps")),
        sqlite_with_rowid=False,
    )


def _workspaces() -> None:
    op.create_table(
        "workspaces",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "plan IN ('starter', 'professional', 'enterprise')", name=op.f("ck_workspaces_plan")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspaces")),
        sa.UniqueConstraint("name", name=op.f("uq_workspaces_name")),
    )
