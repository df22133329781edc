"""Executions that other executions have called.

Older processes may run beside it as long as no agent of the workspace calls another: they would end
a child without its parent. So update every process first, then the agents file.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("executions", sa.Column("root_id", _ID, nullable=True))
    op.add_column(
        "executions", sa.Column("depth", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.add_column("executions", sa.Column("tool_call_id", _ID, nullable=True))
    op.add_column(
        "executions", sa.Column("children", sa.BigInteger(), server_default="0", nullable=False)
    )
    _index(
        "tool_call_id",
        ["parent_id", "tool_call_id"],
        "tool_call_id IS NOT NULL AND NOT superseded",
        unique=True,
    )
    _index("root_id", ["root_id", "id"], "root_id IS NOT NULL")


def _index(name: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(
        f"ix_executions_{name}",
        "executions",
        columns,
        unique=unique,
        sqlite_where=condition,
        postgresql_where=condition,
    )
