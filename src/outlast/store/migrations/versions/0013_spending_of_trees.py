"""What deleted child executions have spent stays with their parents.

A process of version 0.2 may run beside it: it deletes a child without leaving its spending. One that
is older would run a child and end it without its parent, which then waits for ever.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
oldest = "0010"
"""Older code does not know that an execution may have a parent that waits for its end."""

_JSON = sa.Text().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.execute(sa.text(f"UPDATE compatibility SET oldest = '{oldest}'"))
    op.add_column("executions", sa.Column("deleted_spent", _JSON, nullable=True))
