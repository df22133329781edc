"""What deleted child executions have spent stays with their parents.

Older processes may run beside it: they delete a child without leaving its spending.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"

_JSON = sa.Text().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.add_column("executions", sa.Column("deleted_spent", _JSON, nullable=True))
