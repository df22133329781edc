"""An index of what waits for a person or a client, by when it expires. It expands only."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"

_OPEN = (
    "decided_at IS NULL AND superseded IS false AND "
    "kind IN ('approval', 'unknown_outcome', 'client', 'input')"
)


def upgrade() -> None:
    op.create_index(
        "ix_waits_awaited",
        "waits",
        ["workspace_id", "due_at", "execution_id", "tool_call_id"],
        sqlite_where=sa.text(_OPEN),
        postgresql_where=sa.text(_OPEN),
    )
