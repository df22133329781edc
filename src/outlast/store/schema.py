"""The tables, once for every database. Times are milliseconds since the epoch.

Ids are TypeID strings: they sort by creation, so a list "newest first" is a walk down an index.
Partial indices are partial on Postgres too; there the migrations alone say so, because SQLAlchemy
loads a database's whole dialect to read one option of it. What belongs to an execution (steps,
events, checkpoints, approvals) is owned through it.
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

HEAD: Final = "0006"
"""The newest migration; compared at start before Alembic is loaded."""
OLDEST: Final = "0006"
"""The oldest schema whose code still works on a database of this one: migrations expand first, and
only a later release contracts. It is kept in `compatibility`, where older code reads it."""

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Json(TypeDecorator[Any]):
    """JSON that travels as text; Postgres keeps it as JSONB."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """The type in this database; the other database's types are not loaded."""
        if dialect.name != "postgresql":
            return dialect.type_descriptor(Text())
        from sqlalchemy.dialects.postgresql import JSONB

        return dialect.type_descriptor(JSONB())


_JSON: Final[TypeEngine[Any]] = Json()
_ID: Final[TypeEngine[str]] = Text().with_variant(Text(collation="C"), "postgresql")


def _id(name: str, *, primary_key: bool = False, nullable: bool = False) -> Column[str]:
    return Column(name, _ID, primary_key=primary_key, nullable=nullable)


def _time(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _json(name: str) -> Column[Any]:
    return Column(name, _JSON, nullable=False)


def _count(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean(create_constraint=False), nullable=False)


def _added_count(name: str) -> Column[int]:
    """A count that rows from before it was added have as 0."""
    return Column(name, BigInteger, nullable=False, server_default="0")


def _added_flag(name: str) -> Column[bool]:
    """A flag that rows from before it was added do not have."""
    return Column(name, Boolean(create_constraint=False), nullable=False, server_default=false())


workspaces: Final = Table(
    "workspaces",
    metadata,
    _id("id", primary_key=True),
    Column("name", Text, nullable=False),
    Column("plan", Text, nullable=False),
    _time("created_at"),
    UniqueConstraint("name"),
    CheckConstraint("plan IN ('starter', 'professional', 'enterprise')", name="plan"),
)

keys: Final = Table(
    "keys",
    metadata,
    _id("id", primary_key=True),
    _id("workspace_id"),
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False),
    _json("scopes"),
    _id("agent_id", nullable=True),
    _time("created_at"),
    _time("expires_at", nullable=True),
    _time("revoked_at", nullable=True),
    UniqueConstraint("hash"),
    Index(None, "workspace_id", "id"),
)

agents: Final = Table(
    "agents",
    metadata,
    _id("id", primary_key=True),
    _id("workspace_id"),
    Column("name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    _flag("paused"),
    _time("created_at"),
    _time("updated_at"),
    UniqueConstraint("workspace_id", "name"),
    Index(None, "workspace_id", "id"),
)

agent_versions: Final = Table(
    "agent_versions",
    metadata,
    _id("agent_id", primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", Text, nullable=False),
    _json("spec"),
    _time("created_at"),
)

conversations: Final = Table(
    "conversations",
    metadata,
    _id("id", primary_key=True),
    _id("workspace_id"),
    _id("agent_id"),
    _count("turns"),
    _json("session"),
    _time("created_at"),
    _time("last_active_at"),
    Index(None, "workspace_id", "id"),
)

executions: Final = Table(
    "executions",
    metadata,
    _id("id", primary_key=True),
    _id("workspace_id"),
    _id("agent_id"),
    Column("agent_version", Integer, nullable=False),
    _id("conversation_id"),
    _count("turn"),
    _id("parent_id", nullable=True),
    _id("key_id", nullable=True),
    Column("input", Text, nullable=False),
    _json("metadata"),
    _json("session"),
    _json("budget"),
    _time("created_at"),
    # What `advance` may change:
    Column("status", Text, nullable=False),
    _count("segment"),
    _flag("waiting"),
    _time("updated_at"),
    _time("started_at", nullable=True),
    _time("completed_at", nullable=True),
    Column("output", Text),
    Column("error", _JSON),
    _count("input_tokens"),
    _count("output_tokens"),
    _count("cache_read_tokens"),
    _count("cache_write_tokens"),
    _flag("usage_estimated"),
    _count("steps"),
    Column("final_model", Text),
    _count("first_token_ms", nullable=True),
    _count("tool_ms"),
    _count("active_ms"),
    # What has a verb of its own:
    _flag("cancel_requested"),
    _flag("is_purged"),
    # Since 0003:
    Column("pause_requested", _JSON),
    _added_count("superseded_tokens"),
    _added_count("superseded_to"),
    _added_count("resumed_ms"),
    Column("state", _JSON),
    # Since 0004:
    Column("instructions", Text),
    Column("chat_id", Text),
    Column("format", Text),
    Column("forwarded_headers", Text),
    # Since 0005:
    _time("active_since", nullable=True),
    # Since 0006:
    _added_count("credits"),
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
    Index(
        "ix_executions_chat_id",
        "workspace_id",
        "chat_id",
        "id",
        sqlite_where=text("chat_id IS NOT NULL"),
    ),
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

steps: Final = Table(
    "steps",
    metadata,
    _id("execution_id", primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    _id("id"),
    Column("kind", Text, nullable=False),
    _json("data"),
    _time("started_at"),
    _time("ended_at"),
    _flag("superseded"),
    CheckConstraint("kind IN ('model', 'tool')", name="kind"),
    Index(None, "id"),
    sqlite_with_rowid=False,
)

charges: Final = Table(
    "charges",
    metadata,
    _id("execution_id", primary_key=True),
    _id("id", primary_key=True),
    _id("workspace_id"),
    _count("step", nullable=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    _count("input_tokens"),
    _count("output_tokens"),
    _count("credits"),
    _time("at"),
    CheckConstraint("kind IN ('model', 'tool')", name="kind"),
    Index("ix_charges_closed", "id", sqlite_where=text("step IS NULL")),
    sqlite_with_rowid=False,
)
"""The ledger: rows are added and never changed; they stay when their execution is deleted."""

events: Final = Table(
    "events",
    metadata,
    _id("execution_id", primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    _count("segment"),
    Column("kind", Text, nullable=False),
    Column("data", Text, nullable=False),
    _time("at"),
    sqlite_with_rowid=False,
)

checkpoints: Final = Table(
    "checkpoints",
    metadata,
    _id("execution_id", primary_key=True),
    _id("id", primary_key=True),
    _count("step"),
    _time("at"),
    Column("label", Text),
    Column("state", _JSON),
    _flag("superseded"),
    Column("missing", _JSON),
    sqlite_with_rowid=False,
)

approvals: Final = Table(
    "approvals",
    metadata,
    _id("execution_id", primary_key=True),
    _id("tool_call_id", primary_key=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    _json("parameters"),
    _time("requested_at"),
    _time("decided_at", nullable=True),
    Column("approved", Boolean(create_constraint=False)),
    Column("reason", Text),
    Column("effective_parameters", _JSON),
    Column("result", _JSON),
    _id("decided_by", nullable=True),
    # Since 0003:
    _added_count("step"),
    _time("begun_at", nullable=True),
    _time("expires_at", nullable=True),
    _added_flag("expires_approved"),
    _added_flag("superseded"),
    _id("workspace_id", nullable=True),
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
    _id("execution_id", primary_key=True),
    _id("workspace_id"),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("task_type", Text, nullable=False),
    _json("config"),
    _json("first_state"),
    _count("attempts"),
    _flag("changed"),
    _time("saved_at"),
    _time("due_at", nullable=True),
    Index("ix_tasks_due_at", "due_at", sqlite_where=text("due_at IS NOT NULL")),
)
"""What a task says beside its execution, whose row is locked whenever this one is written."""

idempotency: Final = Table(
    "idempotency",
    metadata,
    _id("key_id", primary_key=True),
    Column("key", Text, primary_key=True),
    Column("digest", Text, nullable=False),
    _id("execution_id"),
    Column("answer", Text),
    _time("created_at"),
    Index(None, "created_at"),
    Index(None, "execution_id"),
)

compatibility: Final = Table("compatibility", metadata, Column("oldest", Text, nullable=False))
