"""What requests for vectors of memory stores reserve in budgets. It expands only.

An older process beside it makes such requests without a reservation.
"""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "reserved_requests",
        sa.Column("id", _ID, nullable=False),
        sa.Column("workspace_id", _ID, nullable=False),
        sa.Column("key_id", _ID, nullable=False),
        sa.Column("reserved", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_reserved_requests"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_reserved_requests_at", "reserved_requests", ["at"])
