"""What executions use of a browser, and its state.

Older processes may run beside it. They do not know the tools of a browser, and fail their calls in
words that the model reads.
"""

import sqlalchemy as sa
from alembic import op

from outlast.store.tables import Json

revision = "0019"
down_revision = "0018"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("executions", sa.Column("browser", Json(), nullable=True))
    op.create_table(
        "browsers",
        sa.Column("execution_id", _ID, nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("execution_id", name="pk_browsers"),
        sqlite_with_rowid=False,
    )
