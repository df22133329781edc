"""A workspace's own retention.

It expands only: older processes may run beside it. They delete nothing by age. The plan of a
workspace had no effect before this version and could not be chosen, so every workspace gets the
one that keeps all: an upgrade deletes nothing. A workspace that an older process creates meanwhile
is `starter`; see `outlast workspaces list`.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.add_column("workspaces", sa.Column("retention_days", sa.BigInteger(), nullable=True))
    op.execute(sa.text("UPDATE workspaces SET plan = 'enterprise'"))
