"""Tools that a request declares and its client runs.

Older processes may run beside it: they run no execution that has such tools as its request meant
it, and cannot read the log of one whose calls a client has run.
"""

import sqlalchemy as sa
from alembic import op

from outlast.store.tables import Json

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.add_column("executions", sa.Column("client_tools", Json(), nullable=True))
