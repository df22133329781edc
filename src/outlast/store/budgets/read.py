"""Reads of budgets."""

from collections.abc import Collection

from outlast.model.budget import OwnedBudget
from outlast.store.budgets.shares import budget_with_totals
from outlast.store.budgets.tables import BUDGETS_OF
from outlast.store.driver import Part, Query, Transaction, TransactionResult

MOST_OWNERS = 4
"""Maximum budgets that an execution spends from."""


def budgets_of(workspace_id: str, owners: Collection[str], at: int) -> Part[dict[str, OwnedBudget]]:
    """Return the budgets of at most four owners, as of this moment, by owner."""
    names = [*owners, *[""] * (MOST_OWNERS - len(owners))]
    given = {f"owner_{number}": name for number, name in enumerate(names, 1)}
    rows = yield Query(BUDGETS_OF, {"workspace": workspace_id} | given)
    found = [budget_with_totals(row, at) for row in rows]
    return {budget.owner: budget for budget in found}


def read_budgets(
    workspace_id: str, owners: Collection[str], at: int
) -> Transaction[dict[str, OwnedBudget]]:
    """Read the same."""
    return TransactionResult((yield from budgets_of(workspace_id, owners, at)))
