"""The tables of executions: the rows, their steps and their log."""

from typing import Final

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Table, Text, text

from outlast.model.execution import Status
from outlast.store.executions.columns import COLUMNS, SHOWN_STATUS, UNSUCCESSFUL
from outlast.store.tables import (
    ByDatabase,
    count,
    flag,
    identifier,
    index_of_some,
    json,
    metadata,
    time,
)


def _of_status(rule: str, *statuses: str) -> ByDatabase:
    """Return this rule, in which {} is that the status is one of these.

    SQLite makes a temporary table of a list for each row that it checks, so it gets no list.
    """
    quoted = [f"'{status}'" for status in statuses]
    return ByDatabase(
        sqlite=rule.format(" OR ".join(f"status = {one}" for one in quoted)),
        postgres=rule.format(f"status IN ({','.join(quoted)})"),
    )


executions: Final = Table(
    "executions",
    metadata,
    *(known.column for known in COLUMNS),
    CheckConstraint(_of_status("{}", *Status), name="status"),
    CheckConstraint(
        _of_status(
            "({}) = (completed_at IS NOT NULL)",
            Status.COMPLETED,
            Status.FAILED,
            Status.CANCELLED,
        ),
        name="completed_at_when_terminal",
    ),
    CheckConstraint("(status = 'failed') = (error IS NOT NULL)", name="error_when_failed"),
    CheckConstraint(
        "status <> 'running' OR started_at IS NOT NULL", name="started_at_when_running"
    ),
    CheckConstraint("status = 'queued' OR NOT waiting", name="waiting_only_when_queued"),
    Index(None, "workspace_id", "id"),
    Index(None, "workspace_id", "agent_id", "id"),
    Index("ix_executions_shown_status", "workspace_id", text(f"({SHOWN_STATUS})"), "id"),
    Index(
        "ix_executions_unsuccessful",
        "workspace_id",
        "agent_id",
        "status",
        "id",
        sqlite_where=text(UNSUCCESSFUL),
    ),
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
        "ix_executions_tool_call_id",
        "parent_id",
        "tool_call_id",
        unique=True,
        sqlite_where=text("tool_call_id IS NOT NULL AND NOT superseded"),
    ),
    index_of_some("executions", "root_id", "root_id", "id"),
    Index(
        "ix_executions_schedule_id",
        "schedule_id",
        "scheduled_at",
        unique=True,
        sqlite_where=text("schedule_id IS NOT NULL"),
    ),
    Index(
        "ix_executions_live_of_schedule",
        "schedule_id",
        "completed_at",  # as above
        "id",
        sqlite_where=text("schedule_id IS NOT NULL AND completed_at IS NULL"),
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
"""Metadata values for filters of lists, of the keys that the operator configures."""

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
