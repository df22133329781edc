"""The tables, once for every database. Times are milliseconds since the epoch.

Ids are TypeID strings: they sort by creation, so a list "newest first" is a walk down an index.
Partial indices are partial on Postgres too; there the migrations alone say so, because SQLAlchemy
loads a database's whole dialect to read one option of it. What belongs to an execution (steps,
events, checkpoints, approvals) is owned through it.
"""

from typing import Final

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Table,
    Text,
    text,
)

from outlast.store import agents, charges, idempotency, keys
from outlast.store.leases import maintenance_leases
from outlast.store.tables import (
    JSON,
    added_count,
    added_flag,
    count,
    flag,
    identifier,
    json,
    metadata,
    time,
)

__all__ = [
    "HEAD",
    "OLDEST",
    "agents",
    "charges",
    "idempotency",
    "keys",
    "maintenance_leases",
    "metadata",
]

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
