"""When each key was last used. It expands only: older processes do not note it."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.add_column("keys", sa.Column("last_used_at", sa.BigInteger(), nullable=True))
