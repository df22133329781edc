"""The ledger of charges: rows are added and never changed."""

from typing import Any, Final

from sqlalchemy import CheckConstraint, Column, Index, Table, Text, insert, text

from outlast.model.charge import Charge
from outlast.model.execution import Execution
from outlast.model.usage import Usage
from outlast.store.driver import Row, Statement
from outlast.store.tables import count, identifier, metadata, time

charges: Final = Table(
    "charges",
    metadata,
    identifier("execution_id", primary_key=True),  # empty: none
    identifier("id", primary_key=True),
    identifier("workspace_id"),
    count("step", nullable=True),
    Column("kind", Text, nullable=False),
    Column("name", Text, nullable=False),
    count("input_tokens"),
    count("output_tokens"),
    count("credits"),
    time("at"),
    identifier("agent_id", nullable=True),  # None: written before there was this column
    identifier("key_id", nullable=True),
    identifier("conversation_id", nullable=True),
    CheckConstraint("kind IN ('model', 'tool')", name="kind"),
    Index("ix_charges_closed", "id", sqlite_where=text("step IS NULL")),
    Index(None, "workspace_id", "at"),
    sqlite_with_rowid=False,
)
"""The ledger: rows are added and never changed; they stay when their execution is deleted."""

INSERT_CHARGE: Final = Statement(insert(charges))


def charge_columns(execution: Execution, charge: Charge) -> dict[str, Any]:
    """Return a charge's row."""
    return {
        "execution_id": execution.id,
        "id": charge.id,
        "workspace_id": execution.workspace_id,
        "step": charge.step,
        "kind": charge.kind,
        "name": charge.name,
        "input_tokens": charge.usage.input_tokens,
        "output_tokens": charge.usage.output_tokens,
        "credits": charge.credits,
        "at": charge.at,
        "agent_id": execution.agent_id,
        "key_id": execution.key_id,
        "conversation_id": execution.conversation_id,
    }


def charge_from(row: Row) -> Charge:
    """Return the charge of id, step, kind, name, input_tokens, output_tokens, credits, at."""
    charge_id, step, kind, name, input_tokens, output_tokens, credits_, at = row
    return Charge(charge_id, step, kind, name, credits_, at, Usage(input_tokens, output_tokens))
