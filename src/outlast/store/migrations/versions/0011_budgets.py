"""Budgets of trees, conversations, keys and workspaces, and what an execution has reserved of them.

It expands only. An older process that runs beside it neither reserves nor spends: what it runs
meanwhile is charged, and missing in budgets. So update every process first, then set a budget.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_JSON = sa.Text().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("executions", sa.Column("reserved", _JSON, nullable=True))
    op.create_table(
        "budgets",
        sa.Column("owner", _ID, nullable=False),
        sa.Column("workspace_id", _ID, nullable=False),
        sa.Column("period", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), nullable=False),
        *(_count(f"max_{name}", nullable=True) for name in (*_AMOUNTS, "millis")),
        _count("starts_at"),
        _count("resets_at", nullable=True),
        _count("shares"),
        sa.Column("is_tree", sa.Boolean(create_constraint=False), nullable=False),
        sa.Column("refused", sa.Text(), nullable=True),
        sa.Column("noticed", sa.BigInteger(), server_default="0", nullable=False),
        _count("created_at"),
        sa.CheckConstraint("period IN ('none', 'day', 'month')", name="period"),
        sa.PrimaryKeyConstraint("owner", name="pk_budgets"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_budgets_workspace_id_owner", "budgets", ["workspace_id", "owner"], unique=False
    )
    those_set = sa.text("NOT is_tree")
    op.create_index(
        "ix_budgets_set",
        "budgets",
        ["workspace_id", "owner"],
        unique=False,
        sqlite_where=those_set,
        postgresql_where=those_set,
    )
    op.create_table(
        "budget_shares",
        sa.Column("owner", _ID, nullable=False),
        sa.Column("share", sa.BigInteger(), nullable=False),
        _count("resets_at", nullable=True),
        *(_count(f"granted_{name}", nullable=True) for name in (*_AMOUNTS, "millis")),
        *(_count(f"spent_{name}") for name in (*_AMOUNTS, "millis")),
        *(_count(f"reserved_{name}") for name in _AMOUNTS),
        _count("known_until", nullable=True),
        sa.PrimaryKeyConstraint("owner", "share", name="pk_budget_shares"),
        sqlite_with_rowid=False,
    )


_AMOUNTS = ("tokens", "credits", "steps")


def _count(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)
