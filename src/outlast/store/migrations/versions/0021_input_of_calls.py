"""Input that a tool's server requests of a person during a call.

Older processes may run beside it. They request none, as they announce to no server that they can;
they cannot read the log of an execution that did, nor continue it.
"""

import sqlalchemy as sa
from alembic import op

from outlast.store.tables import Json

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("waits", sa.Column("request", Json(), nullable=True))
