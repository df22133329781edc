"""Schedules, their runs, and the executions that they start.

It expands only: older processes may run beside it. They fire no schedule, and an agents file with a
`schedule` is read by this version and later ones alone: update every process first.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_JSON = sa.Text().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    _executions()
    op.create_table(
        "schedules",
        sa.Column("id", _ID, nullable=False),
        sa.Column("workspace_id", _ID, nullable=False),
        sa.Column("agent_id", _ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("definition", _JSON, nullable=False),
        sa.Column("conversation_id", _ID, nullable=True),
        sa.Column("key_id", _ID, nullable=True),
        sa.Column("paused_reason", sa.Text(), nullable=True),
        sa.Column("next_run", sa.BigInteger(), nullable=True),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("waiting", sa.Text(), nullable=True),
        sa.Column("last_scheduled", sa.BigInteger(), nullable=False),
        sa.Column("last_run_at", sa.BigInteger(), nullable=True),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("missed", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("waiting IS NULL OR waiting IN ('schedule', 'manual')", name="waiting"),
        sa.CheckConstraint(
            "next_run IS NULL OR paused_reason IS NULL", name="next_run_when_active"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_schedules"),
    )
    op.create_index("ix_schedules_workspace_id_id", "schedules", ["workspace_id", "id"])
    op.create_index(
        "ix_schedules_workspace_id_agent_id_id", "schedules", ["workspace_id", "agent_id", "id"]
    )
    _index("schedules", "next_at", ["next_at"], "next_at IS NOT NULL")
    _index("schedules", "of_file", ["agent_id"], "source <> 'api:'", unique=True)
    op.create_table(
        "schedule_runs",
        sa.Column("id", _ID, nullable=False),
        sa.Column("workspace_id", _ID, nullable=False),
        sa.Column("schedule_id", _ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("scheduled_at", sa.BigInteger(), nullable=True),
        sa.Column("execution_id", _ID, nullable=True),
        sa.Column("error", _JSON, nullable=True),
        sa.Column("late", sa.Boolean(), nullable=False),
        sa.Column("missed", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('schedule', 'manual')", name="kind"),
        sa.CheckConstraint("(execution_id IS NULL) <> (error IS NULL)", name="execution_or_error"),
        sa.PrimaryKeyConstraint("id", name="pk_schedule_runs"),
    )
    op.create_index("ix_schedule_runs_schedule_id_id", "schedule_runs", ["schedule_id", "id"])
    op.create_index("ix_schedule_runs_at", "schedule_runs", ["at"])
    columns = ["schedule_id", "scheduled_at"]
    _index("schedule_runs", "scheduled_at", columns, "scheduled_at IS NOT NULL", unique=True)


def _executions() -> None:
    op.add_column("executions", sa.Column("schedule_id", _ID, nullable=True))
    op.add_column("executions", sa.Column("scheduled_at", sa.BigInteger(), nullable=True))
    op.add_column(
        "executions", sa.Column("late", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column(
        "executions", sa.Column("missed", sa.BigInteger(), server_default="0", nullable=False)
    )
    columns = ["schedule_id", "scheduled_at"]
    _index("executions", "schedule_id", columns, "schedule_id IS NOT NULL", unique=True)
    live = "schedule_id IS NOT NULL AND completed_at IS NULL"
    _index("executions", "live_of_schedule", ["schedule_id", "completed_at", "id"], live)


def _index(table: str, name: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(
        f"ix_{table}_{name}",
        table,
        columns,
        unique=unique,
        sqlite_where=condition,
        postgresql_where=condition,
    )
