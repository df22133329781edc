"""Reads of budgets."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from outlast.model.budget import BudgetKind, OwnedBudget
from outlast.store.budgets.shares import budget_with_totals
from outlast.store.budgets.tables import ANY_BUDGET, BUDGETS_OF, list_budgets
from outlast.store.driver import Part, Query, Transaction, TransactionResult

MOST_OWNERS: Final = 4
"""Maximum budgets that an execution spends from."""


@dataclass(frozen=True, slots=True)
class BudgetPage:
    """A page of budgets, by owner."""

    limit: int
    after: str | None = None
    """The owner of the last one of the page before."""
    kind: BudgetKind | None = None


def budgets_of(workspace_id: str, owners: Collection[str], at: int) -> Part[dict[str, OwnedBudget]]:
    """Return the budgets of at most four owners, as of this moment, by owner."""
    names = [*owners, *[""] * (MOST_OWNERS - len(owners))]
    given = {f"owner_{number}": name for number, name in enumerate(names, 1)}
    rows = yield Query(BUDGETS_OF, {"workspace": workspace_id} | given)
    found = [budget_with_totals(row, at) for row in rows]
    return {budget.owner: budget for budget in found}


def has_budgets(workspace_id: str) -> Part[bool]:
    """Return whether any budget is in this workspace, also one of an execution's tree."""
    return bool((yield Query(ANY_BUDGET, {"workspace": workspace_id})))


def read_budgets(
    workspace_id: str, owners: Collection[str], at: int
) -> Transaction[dict[str, OwnedBudget]]:
    """Read the same."""
    return TransactionResult((yield from budgets_of(workspace_id, owners, at)))


def read_page(workspace_id: str, page: BudgetPage, at: int) -> Transaction[list[OwnedBudget]]:
    """Read a page, and one more to tell whether there are more."""
    given: dict[str, Any] = {"workspace": workspace_id, "limit": page.limit + 1}
    filters: set[str] = set()
    if page.after is not None:
        given["after"] = page.after
        filters.add("after")
    if page.kind is not None:
        given |= {"kind": f"{page.kind.value}_", "behind_kind": f"{page.kind.value}`"}
        filters.add("kind")
    rows = yield Query(list_budgets(frozenset(filters)), given)
    return TransactionResult([budget_with_totals(row, at) for row in rows])
