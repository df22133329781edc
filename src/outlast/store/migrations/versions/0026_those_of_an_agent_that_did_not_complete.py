"""An index of an agent's failed and cancelled executions. It expands only."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"

_UNSUCCESSFUL = "status IN ('failed', 'cancelled')"


def upgrade() -> None:
    op.create_index(
        "ix_executions_unsuccessful",
        "executions",
        ["workspace_id", "agent_id", "status", "id"],
        sqlite_where=sa.text(_UNSUCCESSFUL),
        postgresql_where=sa.text(_UNSUCCESSFUL),
    )
