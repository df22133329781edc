"""Transactions that set and remove budgets."""

from dataclasses import dataclass, replace
from typing import Any, Final

from outlast.model.budget import (
    NO_AMOUNTS,
    Amounts,
    Bounds,
    BudgetKind,
    OwnedBudget,
    Period,
    Reservation,
)
from outlast.store.budgets.ledger import spent_since
from outlast.store.budgets.read import budgets_of
from outlast.store.budgets.shares import SHARES, LockedBudget, locked_budget
from outlast.store.budgets.tables import (
    AMOUNTS,
    BEGIN_SHARES,
    BUDGET,
    DELETE_BUDGET,
    INSERT_BUDGET,
    INSERT_SHARE,
    SET_SPENT,
    UPDATE_BUDGET,
)
from outlast.store.driver import Part, Query, Transaction, TransactionResult

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
        "granted_millis": bounds.millis if first else None if number < new.shares else 0,
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


def put_budget(new: NewBudget) -> Transaction[OwnedBudget]:
    """Set the bounds of an owner; what is spent in the same period stays.

    Of a new budget or period, tokens and credits are those of the ledger; steps and time begin at
    0.
    """
    known = yield from locked_budget(new.owner, new.at)
    start, end = new.period.around(new.at, new.zone)
    if known is None:
        spent = yield from spent_since(new.owner, new.workspace_id, start)
        yield from insert_budget(new, spent)
    else:
        yield from _change(new, known, start, end)
    found = yield from budgets_of(new.workspace_id, [new.owner], new.at)
    return TransactionResult(found[new.owner])


def _change(new: NewBudget, known: LockedBudget, start: int, end: int | None) -> Part[None]:
    """Change a locked budget, and grant its shares what is free now.

    What is reserved stays in the shares that it was taken from.
    """
    before, bounds = known.budget, new.bounds
    of = {"of_owner": new.owner, "new_start": start, "new_end": end}
    yield Query(
        UPDATE_BUDGET,
        {
            **of,
            "new_period": new.period.value,
            "new_zone": new.zone,
            **{f"new_{name}": getattr(bounds, name) for name in (*AMOUNTS, "millis")},
            "new_shares": new.shares,
        },
    )
    after = replace(before, bounds=bounds, period=new.period, zone=new.zone)
    first_millis = known.first_millis
    if (before.period, before.starts_at, before.resets_at) != (new.period, start, end):
        spent = yield from spent_since(new.owner, new.workspace_id, start)
        yield Query(BEGIN_SHARES, of)
        given = {f"new_{name}": getattr(spent, name) for name in AMOUNTS}
        yield Query(SET_SPENT, {"of_owner": new.owner, "of_share": 0, **given})
        after, first_millis = replace(after, spent=spent, spent_millis=0), 0
    locked = replace(known, budget=after, shares=new.shares, first_millis=first_millis)
    yield from locked.grant(NO_AMOUNTS)


def remove_budget(workspace_id: str, owner: str) -> Transaction[bool]:
    """Remove a budget; return whether there was one. What is reserved of it is forgotten."""
    rows = yield Query(BUDGET, {"workspace": workspace_id, "of_owner": owner})
    if rows:
        for statement in DELETE_BUDGET:
            yield Query(statement, {"id": owner})
    return TransactionResult(bool(rows))
