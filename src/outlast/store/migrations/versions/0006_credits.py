"""The ledger of credits, with what was used before there was one; steps are found by their ids.

Work of that time is charged at the price of what has no price: 1 credit per 1,000 tokens. An
execution's credits are the sum of its charges afterwards: where its recorded steps say more than
its row does, the row is raised. Usage that cannot be true is bounded, for no column holds it.
"""

import sqlalchemy as sa
from alembic import op

from outlast.model.clock import SystemClock

revision = "0006"
down_revision = "0005"
oldest = "0006"
"""Older code would record steps without charging them, and cannot read the events that tell it."""

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_NANO_PER_TOKEN = 1_000_000
_MOST_TOKENS = 10**11
"""Of one step, or of one column of an execution."""
_BOUNDED = {
    "sqlite": f"coalesce(min(max(CAST({{}} AS INTEGER), 0), {_MOST_TOKENS}), 0)",
    "postgresql": f"CAST(least(greatest(floor(CAST({{}} AS numeric)), 0), {_MOST_TOKENS}) "
    "AS bigint)",
}
_PATHS = {
    "sqlite": (
        "coalesce(json_extract(s.data, '$.model'), '')",
        "json_extract(s.data, '$.usage.input_tokens')",
        "json_extract(s.data, '$.usage.output_tokens')",
        "json_set(error, '$.message', '')",
    ),
    "postgresql": (
        "coalesce(s.data->>'model', '')",
        "s.data->'usage'->>'input_tokens'",
        "s.data->'usage'->>'output_tokens'",
        "jsonb_set(error, '{message}', '\"\"')",
    ),
}


def upgrade() -> None:
    op.execute(sa.text(f"UPDATE compatibility SET oldest = '{oldest}'"))
    op.add_column(
        "executions", sa.Column("credits", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.create_index("ix_steps_id", "steps", ["id"], unique=False)
    op.create_table(
        "charges",
        sa.Column("execution_id", _ID, nullable=False),
        sa.Column("id", _ID, nullable=False),
        sa.Column("workspace_id", _ID, nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('model', 'tool')", name="kind"),
        sa.PrimaryKeyConstraint("execution_id", "id", name="pk_charges"),
        sqlite_with_rowid=False,
    )
    condition = sa.text("step IS NULL")
    op.create_index(
        "ix_charges_closed",
        "charges",
        ["id"],
        unique=False,
        sqlite_where=condition,
        postgresql_where=condition,
    )
    _charge_executions()
    _charge_steps()
    _charge_what_is_left()
    _raise_to_charges()
    _forget_errors()


def _charge_executions() -> None:
    """Everything that an execution has used, superseded work too."""
    used = " + ".join(map(_bounded, ("input_tokens", "output_tokens", "superseded_tokens")))
    op.execute(
        sa.text(f"UPDATE executions SET credits = ({used}) * {_NANO_PER_TOKEN} WHERE {used} > 0")
    )


def _bounded(value: str) -> str:
    return _BOUNDED[op.get_bind().dialect.name].format(value)


def _charge_steps() -> None:
    model, read, written, _ = _PATHS[op.get_bind().dialect.name]
    read, written = _bounded(read), _bounded(written)
    op.execute(
        sa.text(
            "INSERT INTO charges (execution_id, id, workspace_id, step, kind, name, input_tokens, "
            "output_tokens, credits, at) "
            f"SELECT s.execution_id, s.id, e.workspace_id, s.number, 'model', {model}, {read}, "
            f"{written}, ({read} + {written}) * {_NANO_PER_TOKEN}, s.ended_at "
            "FROM steps s JOIN executions e ON e.id = s.execution_id "
            f"WHERE s.kind = 'model' AND {read} + {written} > 0"
        )
    )


def _charge_what_is_left() -> None:
    """Requests that a pause has closed, and steps that were deleted with their conversation."""
    connection, clock = op.get_bind(), SystemClock()
    rows = connection.execute(
        sa.text(
            "SELECT e.id, e.workspace_id, e.credits - coalesce(sum(c.credits), 0), e.final_model, "
            "e.updated_at FROM executions e LEFT JOIN charges c ON c.execution_id = e.id "
            "GROUP BY e.id, e.workspace_id, e.credits, e.final_model, e.updated_at "
            "HAVING e.credits > coalesce(sum(c.credits), 0)"
        )
    ).fetchall()
    for execution_id, workspace_id, left, model, at in rows:
        connection.execute(
            sa.text(
                "INSERT INTO charges (execution_id, id, workspace_id, step, kind, name, "
                "input_tokens, output_tokens, credits, at) VALUES (:execution, :id, :workspace, "
                "NULL, 'model', :model, :tokens, 0, :credits, :at)"
            ),
            {
                "execution": execution_id,
                "id": clock.new_id("step"),
                "workspace": workspace_id,
                "model": model or "",
                "tokens": int(left) // _NANO_PER_TOKEN,
                "credits": int(left),
                "at": at,
            },
        )


def _raise_to_charges() -> None:
    """No execution says less than its charges add up to."""
    charged = "(SELECT sum(c.credits) FROM charges c WHERE c.execution_id = executions.id)"
    op.execute(sa.text(f"UPDATE executions SET credits = {charged} WHERE credits < {charged}"))


def _forget_errors() -> None:
    """What an error says is content, and goes with its conversation."""
    *_, forgotten = _PATHS[op.get_bind().dialect.name]
    op.execute(
        sa.text(f"UPDATE executions SET error = {forgotten} WHERE is_purged AND error IS NOT NULL")
    )
