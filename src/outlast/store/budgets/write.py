"""Transactions that set and remove budgets."""

from dataclasses import dataclass
from typing import Any, Final

from outlast.model.budget import (
    NO_AMOUNTS,
    Amounts,
    Bounds,
    BudgetKind,
    Period,
    Reservation,
)
from outlast.store.budgets.shares import SHARES
from outlast.store.budgets.tables import AMOUNTS, INSERT_BUDGET, INSERT_SHARE
from outlast.store.driver import Part, Query

_MANY: Final = (BudgetKind.KEY, BudgetKind.WORKSPACE)
"""Kinds from which many executions spend at once."""


@dataclass(frozen=True, slots=True)
class NewBudget:
    """The bounds of an owner, from now on."""

    owner: str
    workspace_id: str
    bounds: Bounds
    period: Period = Period.NONE
    zone: str = "UTC"
    at: int = 0
    spent_millis: int = 0

    @property
    def rows(self) -> int:
        """Number of shares that it has."""
        return SHARES if BudgetKind.of(self.owner) in _MANY else 1

    @property
    def shares(self) -> int:
        """Number of shares that are used: time cannot be divided."""
        return self.rows if self.bounds.millis is None else 1


def insert_budget(new: NewBudget, spent: Amounts, held: Reservation | None = None) -> Part[None]:
    """Insert a budget of which this is spent already; `held` is reserved if it names the owner."""
    start, end = new.period.around(new.at, new.zone)
    bounds = new.bounds
    yield Query(
        INSERT_BUDGET,
        {
            "owner": new.owner,
            "workspace_id": new.workspace_id,
            "period": new.period.value,
            "zone": new.zone,
            **{f"max_{name}": getattr(bounds, name) for name in (*AMOUNTS, "millis")},
            "starts_at": start,
            "resets_at": end,
            "shares": new.shares,
            "is_tree": BudgetKind.of(new.owner) is BudgetKind.TREE,
            "refused": None,
            "noticed": 0,
            "created_at": new.at,
        },
    )
    reserved = NO_AMOUNTS
    if held is not None and new.owner in held.owners:
        reserved = held.amounts
    for number in range(new.rows):
        yield Query(INSERT_SHARE, _share(new, number, spent, reserved, end))


def _share(
    new: NewBudget, number: int, spent: Amounts, reserved: Amounts, end: int | None
) -> dict[str, Any]:
    """Return the row of a share; the first has what is spent, and what its own tree reserves."""
    first = number == 0
    own_spent, own_reserved = (spent, reserved) if first else (NO_AMOUNTS, NO_AMOUNTS)
    used, bounds = spent + reserved, new.bounds
    row: dict[str, Any] = {
        "owner": new.owner,
        "share": number,
        "resets_at": end,
        "granted_millis": bounds.millis if first else None,
        "spent_millis": new.spent_millis if first else 0,
        "known_until": new.at if BudgetKind.of(new.owner).counts_overlap_once else None,
    }
    for name in AMOUNTS:
        most = getattr(bounds, name)
        own = getattr(own_spent, name) + getattr(own_reserved, name)
        free = 0
        if most is not None and number < new.shares:
            free = max(0, most - getattr(used, name)) // new.shares
        row[f"granted_{name}"] = None if most is None else own + free
        row[f"spent_{name}"] = getattr(own_spent, name)
        row[f"reserved_{name}"] = getattr(own_reserved, name)
    return row
