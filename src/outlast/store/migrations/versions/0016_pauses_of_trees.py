"""Whose pause has stopped a child execution.

Older processes may run beside it. A pause by one of them stops the execution alone, and a resume by
one of them wakes no child that a pause has stopped: resume it by its own id.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("executions", sa.Column("paused_by", _ID, nullable=True))
