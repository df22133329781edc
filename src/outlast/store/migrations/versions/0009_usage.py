"""What a workspace uses: charges with their agent, key and conversation, and sums of past hours.

It expands only: older processes may run beside it. What they charge meanwhile, and charges of
executions that are deleted already, belong to no agent, key and conversation.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    for name in ("agent_id", "key_id", "conversation_id"):
        op.add_column("charges", sa.Column(name, _ID, nullable=True))
    op.execute(
        sa.text(
            "UPDATE charges SET agent_id = e.agent_id, key_id = e.key_id, "
            "conversation_id = e.conversation_id FROM executions e WHERE e.id = execution_id"
        )
    )
    op.create_index("ix_charges_workspace_id_at", "charges", ["workspace_id", "at"], unique=False)
    op.create_table(
        "usage_hours",
        sa.Column("workspace_id", _ID, nullable=False),
        sa.Column("hour", sa.BigInteger(), nullable=False),
        sa.Column("agent_id", _ID, nullable=False),
        sa.Column("key_id", _ID, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.Column("charges", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "workspace_id", "hour", "agent_id", "key_id", "kind", "name", name="pk_usage_hours"
        ),
        sqlite_with_rowid=False,
    )
