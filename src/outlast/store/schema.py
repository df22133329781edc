"""The tables, once for every database. Times are milliseconds since the epoch.

Ids are TypeID strings: they sort by creation, so a list "newest first" is a walk down an index.
Partial indices are partial on Postgres too; there the migrations alone say so, because SQLAlchemy
loads a database's whole dialect to read one option of it. What belongs to an execution (steps,
events, checkpoints, approvals) is owned through it.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    Table,
    Text,
    text,
)

from outlast.store import agents, idempotency, keys
from outlast.store.leases import maintenance_leases
from outlast.store.tables import (
    JSON,
    added_count,
    added_flag,
    count,
    flag,
    identifier,
    index_of_some,
    json,
    metadata,
    time,
)

__all__ = ["HEAD", "OLDEST", "agents", "idempotency", "keys", "maintenance_leases", "metadata"]

HEAD: Final = "0007"
"""The newest migration; compared at start before Alembic is loaded."""
OLDEST: Final = "0007"
"""The oldest schema whose code still works on a database of this one: migrations expand first, and
only a later release contracts. It is kept in `compatibility`, where older code reads it."""


conversations: Final = Table(
    "conversations",
    metadata,
    identifier("id", primary_key=True),
    identifier("workspace_id"),
    identifier("agent_id"),
    count("turns"),
    json("session"),
    time("created_at"),
    time("last_active_at"),
    # Since 0007:
    Column("end_user", Text),
    Index(None, "workspace_id", "id"),
    Index(None, "workspace_id", "last_active_at", "id"),
    Index("ix_conversations_agent_id", "workspace_id", "agent_id", "last_active_at", "id"),
    Index(
        "ix_conversations_end_user",
        "workspace_id",
        "end_user",
        "last_active_at",
        "id",
        sqlite_where=text("end_user IS NOT NULL"),
    ),
)

executions: Final = Table(
    "executions",
    metadata,
    identifier("id", primary_key=True),
    identifier("workspace_id"),
    identifier("agent_id"),
    Column("agent_version", Integer, nullable=False),
    identifier("conversation_id"),
    count("turn"),
    identifier("parent_id", nullable=True),
    identifier("key_id", nullable=True),
    Column("input", Text, nullable=False),
    json("metadata"),
    json("session"),
    json("budget"),
    time("created_at"),
    # What `advance` may change:
    Column("status", Text, nullable=False),
    count("segment"),
    flag("waiting"),
    time("updated_at"),
    time("started_at", nullable=True),
    time("completed_at", nullable=True),
    Column("output", Text),
    Column("error", JSON),
    count("input_tokens"),
    count("output_tokens"),
    count("cache_read_tokens"),
    count("cache_write_tokens"),
    flag("usage_estimated"),
    count("steps"),
    Column("final_model", Text),
    count("first_token_ms", nullable=True),
    count("tool_ms"),
    count("active_ms"),
    # What has a verb of its own:
    flag("cancel_requested"),
    flag("is_purged"),
    # Since 0003:
    Column("pause_requested", JSON),
    added_count("superseded_tokens"),
    added_count("superseded_to"),
    added_count("resumed_ms"),
    Column("state", JSON),
    # Since 0004:
    Column("instructions", Text),
    Column("chat_id", Text),
    Column("format", Text),
    Column("forwarded_headers", Text),
    # Since 0005:
    time("active_since", nullable=True),
    # Since 0006:
    added_count("credits"),
    # Since 0007:
    added_count("tries"),
    Column("end_user", Text),
    added_flag("superseded"),
    Column("message_id", Text),
    added_flag("purging"),
    CheckConstraint(
        "status IN ('queued','running','suspended','paused','completed','failed','cancelled')",
        name="status",
    ),
    CheckConstraint(
        "(status IN ('completed','failed','cancelled')) = (completed_at IS NOT NULL)",
        name="completed_at_when_terminal",
    ),
    CheckConstraint("(status = 'failed') = (error IS NOT NULL)", name="error_when_failed"),
    CheckConstraint(
        "status <> 'running' OR started_at IS NOT NULL", name="started_at_when_running"
    ),
    CheckConstraint("status = 'queued' OR NOT waiting", name="waiting_only_when_queued"),
    Index(None, "workspace_id", "id"),
    Index(None, "workspace_id", "agent_id", "id"),
    Index(None, "workspace_id", "status", "id"),
    Index(None, "workspace_id", "conversation_id", "id"),
    Index(
        "ix_executions_live",
        "workspace_id",
        "conversation_id",
        "completed_at",  # always null here; SQLite's planner counts it as one more match
        "id",
        sqlite_where=text("completed_at IS NULL"),
    ),
    index_of_some("executions", "chat_id", "workspace_id", "chat_id", "id"),
    index_of_some("executions", "end_user", "workspace_id", "end_user", "id"),
    index_of_some(
        "executions", "message_id", "workspace_id", "conversation_id", "message_id", "turn"
    ),
    Index("ix_executions_purging", "id", sqlite_where=text("purging")),
    Index(
        "ix_executions_parent_id",
        "parent_id",
        "id",
        sqlite_where=text("parent_id IS NOT NULL"),
    ),
    Index(
        "ix_executions_cancel_requested",
        "id",
        sqlite_where=text("cancel_requested AND completed_at IS NULL"),
    ),
    Index(
        "ix_executions_pause_requested",
        "id",
        sqlite_where=text("pause_requested IS NOT NULL AND completed_at IS NULL"),
    ),
    Index(
        "ix_executions_unfinished",
        "id",
        sqlite_where=text("status IN ('queued','running') AND completed_at IS NULL"),
    ),
)

execution_metadata: Final = Table(
    "execution_metadata",
    metadata,
    identifier("workspace_id", primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    identifier("execution_id", primary_key=True),
    Index(None, "execution_id"),
    sqlite_with_rowid=False,
)
"""The metadata values by which lists are filtered: the keys that the operator names."""

steps: Final = Table(
    "steps",
    metadata,
    identifier("execution_id", primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    identifier("id"),
    Column("kind", Text, nullable=False),
    json("data"),
    time("started_at"),
    time("ended_at"),
    flag("superseded"),
    CheckConstraint("kind IN ('model', 'tool')", name="kind"),
    Index(None, "id"),
    sqlite_with_rowid=False,
)

charges: Final = Table(
    "charges",
    metadata,
    identifier("execution_id", primary_key=True),
    identifier("id", primary_key=True),
    identifier("workspace_id"),
    count("step", nullable=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    count("input_tokens"),
    count("output_tokens"),
    count("credits"),
    time("at"),
    CheckConstraint("kind IN ('model', 'tool')", name="kind"),
    Index("ix_charges_closed", "id", sqlite_where=text("step IS NULL")),
    sqlite_with_rowid=False,
)
"""The ledger: rows are added and never changed; they stay when their execution is deleted."""

events: Final = Table(
    "events",
    metadata,
    identifier("execution_id", primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    count("segment"),
    Column("kind", Text, nullable=False),
    Column("data", Text, nullable=False),
    time("at"),
    sqlite_with_rowid=False,
)

checkpoints: Final = Table(
    "checkpoints",
    metadata,
    identifier("execution_id", primary_key=True),
    identifier("id", primary_key=True),
    count("step"),
    time("at"),
    Column("label", Text),
    Column("state", JSON),
    flag("superseded"),
    Column("missing", JSON),
    sqlite_with_rowid=False,
)

approvals: Final = Table(
    "approvals",
    metadata,
    identifier("execution_id", primary_key=True),
    identifier("tool_call_id", primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    json("parameters"),
    time("requested_at"),
    time("decided_at", nullable=True),
    Column("approved", Boolean(create_constraint=False)),
    Column("reason", Text),
    Column("effective_parameters", JSON),
    Column("result", JSON),
    identifier("decided_by", nullable=True),
    # Since 0003:
    added_count("step"),
    time("begun_at", nullable=True),
    time("expires_at", nullable=True),
    added_flag("expires_approved"),
    added_flag("superseded"),
    identifier("workspace_id", nullable=True),
    CheckConstraint("kind IN ('approval', 'unknown_outcome')", name="kind"),
    CheckConstraint("(decided_at IS NULL) = (approved IS NULL)", name="decided"),
    Index(
        "ix_approvals_open",
        "workspace_id",
        "execution_id",
        "tool_call_id",
        sqlite_where=text("decided_at IS NULL"),
    ),
    Index(
        "ix_approvals_expires_at",
        "expires_at",
        sqlite_where=text("decided_at IS NULL AND expires_at IS NOT NULL"),
    ),
    sqlite_with_rowid=False,
)

tasks: Final = Table(
    "tasks",
    metadata,
    identifier("execution_id", primary_key=True),
    identifier("workspace_id"),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("task_type", Text, nullable=False),
    json("config"),
    json("first_state"),
    count("attempts"),
    flag("changed"),
    time("saved_at"),
    time("due_at", nullable=True),
    Index("ix_tasks_due_at", "due_at", sqlite_where=text("due_at IS NOT NULL")),
)
"""What a task says beside its execution, whose row is locked whenever this one is written."""


compatibility: Final = Table("compatibility", metadata, Column("oldest", Text, nullable=False))
