"""Charges of requests that belong to no execution: to embedding models, for memory stores.

They are in the ledger without an execution, and spend from budgets of the workspace and the key.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, select

from outlast.model.budget import Amounts
from outlast.model.charge import Charge
from outlast.store.budgets.shares import Applying, Change, change_shares
from outlast.store.budgets.tables import budgets
from outlast.store.charges import INSERT_CHARGE
from outlast.store.driver import (
    Driver,
    Part,
    Query,
    Statement,
    Transaction,
    TransactionResult,
)

_NONE: Final = ""

BUDGETS_OF_REQUEST: Final = Statement(
    select(budgets.c.owner, budgets.c.resets_at, budgets.c.shares)
    .where(
        budgets.c.workspace_id == bindparam("workspace"),
        budgets.c.owner.in_([bindparam("workspace"), bindparam("key")]),
    )
    .order_by(budgets.c.owner)
)
"""Selects the budgets that a request spends from, in the order of locks."""


@dataclass(frozen=True, slots=True)
class RequestCharge:
    """A charge, and who made the request."""

    workspace_id: str
    key_id: str | None
    charge: Charge


def charge_request(wanted: RequestCharge) -> Part[None]:
    """Charge a request, as the last part of a transaction."""
    charge, usage = wanted.charge, wanted.charge.usage
    yield Query(
        INSERT_CHARGE,
        {
            "execution_id": _NONE,
            "id": charge.id,
            "workspace_id": wanted.workspace_id,
            "step": charge.step,
            "kind": charge.kind,
            "name": charge.name,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "credits": charge.credits,
            "at": charge.at,
            "agent_id": None,
            "key_id": wanted.key_id,
            "conversation_id": None,
        },
    )
    of = {"workspace": wanted.workspace_id, "key": wanted.key_id or _NONE}
    rows = yield Query(BUDGETS_OF_REQUEST, of)
    spent = Amounts(usage.total_tokens, charge.credits, 0)
    change = Change(charge.id, charge.at, charge.at, spent)
    yield from change_shares([Applying(*row) for row in rows], change)


def _add(wanted: Sequence[RequestCharge]) -> Transaction[None]:
    for one in wanted:
        yield from charge_request(one)
    return TransactionResult(None)


class RequestChargeStore:
    """Charges of requests."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def add(self, wanted: Sequence[RequestCharge]) -> None:
        """Charge requests. Raises Overloaded."""
        await self._driver.write(lambda: _add(wanted))
