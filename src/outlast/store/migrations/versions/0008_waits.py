"""Approvals become waits of any kind, and a suspended execution says who or what it awaits.

The table is copied: SQLite changes no constraint. All that waited until now waits for a person.
"""

import sqlalchemy as sa
from alembic import op

from outlast.store.tables import Json

revision = "0008"
down_revision = "0007"
oldest = "0008"
"""Older code knows neither the table nor what waits for anything but a person."""

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_OPEN = "decided_at IS NULL AND superseded IS false"
_PERSON = "kind IN ('approval', 'unknown_outcome')"
_SHOWN_STATUS = "CASE WHEN awaiting IN ('child', 'time') THEN 'running' ELSE status END"
_KEPT = (
    "execution_id, tool_call_id, kind, name, parameters, step, requested_at, decided_at, "
    "approved, reason, effective_parameters, result, decided_by, begun_at, superseded"
)


def upgrade() -> None:
    op.execute(sa.text(f"UPDATE compatibility SET oldest = '{oldest}'"))
    if op.get_bind().dialect.name == "postgresql":  # nothing is written between copy and drop
        op.execute(sa.text("LOCK TABLE executions, approvals IN ACCESS EXCLUSIVE MODE"))
    _create_waits()
    _copy_approvals()
    op.drop_table("approvals")
    _index(
        "waits",
        "open",
        ["execution_id", "awaiting", "workspace_id", "decided_at", "superseded"],
        _OPEN,
    )
    _index(
        "waits",
        "approvals",
        ["workspace_id", "execution_id", "tool_call_id"],
        f"{_OPEN} AND {_PERSON}",
    )
    _index("waits", "due_at", ["due_at"], "decided_at IS NULL AND due_at IS NOT NULL")
    op.execute(
        sa.text(
            "ALTER TABLE executions ADD COLUMN awaiting TEXT CONSTRAINT ck_executions_awaiting "
            "CHECK (awaiting IS NULL OR (status = 'suspended' AND awaiting IN ('person', "
            "'client', 'child', 'time')))"
        )
    )
    op.execute(sa.text("UPDATE executions SET awaiting = 'person' WHERE status = 'suspended'"))
    op.drop_index("ix_executions_workspace_id_status_id", "executions")
    op.create_index(
        "ix_executions_shown_status",
        "executions",
        ["workspace_id", sa.text(f"({_SHOWN_STATUS})"), "id"],
        unique=False,
    )


def _create_waits() -> None:
    op.create_table(
        "waits",
        sa.Column("execution_id", _ID, nullable=False),
        sa.Column("tool_call_id", _ID, nullable=False),
        sa.Column("workspace_id", _ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("awaiting", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("parameters", Json(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("due_approved", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("decided_at", sa.BigInteger(), nullable=True),
        sa.Column("approved", sa.Boolean(create_constraint=False), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("effective_parameters", Json(), nullable=True),
        sa.Column("result", Json(), nullable=True),
        sa.Column("decided_by", _ID, nullable=True),
        sa.Column("begun_at", sa.BigInteger(), nullable=True),
        sa.Column("superseded", sa.Boolean(create_constraint=False), nullable=False),
        sa.CheckConstraint(
            f"(awaiting = 'person' AND {_PERSON}) OR (awaiting = 'client' AND kind IN "
            "('client', 'input')) OR (awaiting = 'time' AND kind = 'timer') OR (kind = 'child' "
            "AND awaiting IN ('child', 'person', 'client'))",
            name="kind",
        ),
        sa.CheckConstraint("(decided_at IS NULL) = (approved IS NULL)", name="decided"),
        sa.CheckConstraint("kind <> 'timer' OR due_at IS NOT NULL", name="due"),
        sa.PrimaryKeyConstraint("execution_id", "tool_call_id", name="pk_waits"),
        sqlite_with_rowid=False,
    )


def _copy_approvals() -> None:
    """Every approval of an execution that there is."""
    of = ", ".join(f"a.{name}" for name in _KEPT.split(", "))
    op.execute(
        sa.text(
            f"INSERT INTO waits ({_KEPT}, workspace_id, awaiting, due_at, due_approved) "
            f"SELECT {of}, e.workspace_id, 'person', a.expires_at, a.expires_approved "
            "FROM approvals a JOIN executions e ON e.id = a.execution_id"
        )
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
