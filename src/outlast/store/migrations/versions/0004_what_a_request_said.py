"""What the request that started an execution said: its chat, format, instructions and headers."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
oldest = "0001"
"""Code that knows this schema still works on the database."""


def upgrade() -> None:
    for name in ("instructions", "chat_id", "format", "forwarded_headers"):
        op.add_column("executions", sa.Column(name, sa.Text(), nullable=True))
    condition = sa.text("chat_id IS NOT NULL")
    op.create_index(
        "ix_executions_chat_id",
        "executions",
        ["workspace_id", "chat_id", "id"],
        unique=False,
        sqlite_where=condition,
        postgresql_where=condition,
    )
