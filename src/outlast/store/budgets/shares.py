"""Spends, reserves and releases in the shares of budgets, inside other transactions.

A share is moved by one statement. Only if a reservation does not fit in it, or a new period has
begun, are the budget and all of its shares locked, and what is free is granted anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final
from zlib import crc32

from outlast.model.budget import (
    NO_AMOUNTS,
    Amounts,
    Bound,
    Bounds,
    BudgetKind,
    BudgetRefused,
    OwnedBudget,
    Period,
    Reservation,
)
from outlast.store.budgets.tables import (
    AMOUNTS,
    BEGIN_PERIOD,
    BEGIN_SHARES,
    CLOSE_SHARES,
    COUNTS,
    GRANT,
    LOCK_BUDGET,
    LOCK_SHARES,
    MOVE_LOCKED_SHARE,
    MOVE_SHARE,
    NOTE_REFUSAL,
    RESERVE_IN_SHARE,
    budget_shares,
    budgets,
)
from outlast.store.driver import Part, Query, Row

SHARES: Final = 8
"""Shares of the budget of a key or workspace, from which many executions spend at once."""
SPENT: Final = 100
"""Percentage at which a budget is spent."""
_COLUMNS: Final = tuple(column.name for column in budgets.c)
_SHARE_COLUMNS: Final = tuple(column.name for column in budget_shares.c)


@dataclass(frozen=True, slots=True)
class Applying:
    """A budget that an execution spends from."""

    owner: str
    resets_at: int | None
    shares: int

    @classmethod
    def read(cls, text: str | None) -> tuple["Applying", ...]:
        """Read what `APPLYING` selects, in the order of locks."""
        if not text:
            return ()
        found = (one.split(" ") for one in text.split(","))
        return tuple(
            sorted(
                (cls(owner, int(ends) or None, int(shares)) for owner, ends, shares in found),
                key=lambda one: one.owner,
            )
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What one transaction does to the budgets of an execution."""

    tree: str
    """The root of the execution's tree, which selects the share."""
    at: int
    since: int
    """Start of the execution's work that is not counted yet; `at` if there is none."""
    spent: Amounts = NO_AMOUNTS
    released: Reservation | None = None
    held: Reservation | None = None
    """Must fit in every budget that it names."""

    def __bool__(self) -> bool:
        held = self.released is not None or self.held is not None
        return bool(self.spent) or held or self.since < self.at

    def parameters(self, owner: str, shares: int) -> dict[str, Any]:
        """Return those of a statement that moves the share of one budget."""
        less, held = _of(self.released, owner), _of(self.held, owner)
        given: dict[str, Any] = {
            "of_owner": owner,
            "of_share": share_of(self.tree, shares),
            "at": self.at,
            "since": self.since,
        }
        for prefix, amounts in (("more", self.spent), ("less", less), ("held", held)):
            for name in AMOUNTS:
                given[f"{prefix}_{name}"] = getattr(amounts, name)
        return given


def share_of(tree: str, shares: int) -> int:
    """Return the number of the share from which a tree spends."""
    return crc32(tree.encode()) % shares if shares > 1 else 0


def _of(reservation: Reservation | None, owner: str) -> Amounts:
    if reservation is None or owner not in reservation.owners:
        return NO_AMOUNTS
    return reservation.amounts


def change_shares(
    applying: Iterable[Applying], change: Change, *, alone: bool = True
) -> Part[None]:
    """Apply a change to the budgets of an execution, in the order of locks. Raises BudgetRefused.

    Then the transaction must be rolled back. `alone`: nothing else in it moves these shares.
    """
    if not change:
        return
    for one in applying:
        parameters = change.parameters(one.owner, one.shares)
        if change.held is not None and one.owner in change.held.owners:
            if not (yield Query(RESERVE_IN_SHARE, parameters)):
                yield from _fit_held(one, change)
        elif one.resets_at is not None and change.at >= one.resets_at:
            yield from locked_budget(one.owner, change.at)
            yield Query(MOVE_LOCKED_SHARE, parameters)
        else:
            yield Query(MOVE_SHARE if alone else MOVE_LOCKED_SHARE, parameters)


def _fit_held(one: Applying, change: Change) -> Part[None]:
    """Spend and reserve where the share alone has no room. Raises BudgetRefused."""
    locked = yield from locked_budget(one.owner, change.at)
    if locked is None:
        return
    less, held = _of(change.released, one.owner), _of(change.held, one.owner)
    wanted = Wanted(held.tokens, held.credits, 0, 0, held.steps)
    used = change.spent - less
    fits = locked.fits(wanted, used)
    if isinstance(fits, Bound):
        now = locked.budget
        now = replace(now, spent=now.spent + change.spent, reserved=now.reserved - less)
        raise BudgetRefused(now, fits, first=locked.noticed < SPENT)
    yield Query(MOVE_LOCKED_SHARE, change.parameters(one.owner, locked.shares))
    yield from locked.grant(used + held)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a step needs, by the length of its answer."""

    input_tokens: int
    cost: int
    """Billionths of a credit, without the answer."""
    output_tokens: int
    """Maximum tokens of the answer."""
    output_price: int
    """Billionths of a credit per token of the answer."""
    steps: int = 1
    least: int = 0
    """Minimum of `output_tokens`."""

    def amounts(self, output: int) -> Amounts:
        """Return what an answer of this length needs."""
        return Amounts(
            self.input_tokens + output, self.cost + output * self.output_price, self.steps
        )


@dataclass(frozen=True, slots=True)
class LockedBudget:
    """A budget that is locked, with its shares, and is in its current period."""

    budget: OwnedBudget
    shares: int
    refused: str | None
    noticed: int
    first_millis: int
    """Time spent in the first share."""

    def left(self, used: Amounts = NO_AMOUNTS) -> Bounds:
        """Return what is free once this is used, too; negative if more is used than there is."""
        bounds = self.budget.bounds
        taken = self.budget.spent + self.budget.reserved + used
        return Bounds(
            None if bounds.tokens is None else bounds.tokens - taken.tokens,
            None if bounds.credits is None else bounds.credits - taken.credits,
            None if bounds.steps is None else bounds.steps - taken.steps,
            None if bounds.millis is None else bounds.millis - self.budget.spent_millis,
        )

    def fits(self, wanted: Wanted, used: Amounts = NO_AMOUNTS) -> int | Bound:
        """Return the tokens of an answer that fit, or the bound that refuses."""
        if self.refused is not None and self.budget.kind is BudgetKind.TREE:
            return Bound(self.refused)
        left = self.left(used)
        if left.millis is not None and left.millis <= 0:
            return Bound.SECONDS
        if left.steps is not None and left.steps < wanted.steps:
            return Bound.STEPS
        output, by = wanted.output_tokens, Bound.TOKENS
        if left.tokens is not None:
            output = min(output, left.tokens - wanted.input_tokens)
        if left.credits is not None:
            affordable = left.credits - wanted.cost
            if affordable < 0:
                return Bound.CREDITS
            if wanted.output_price and affordable // wanted.output_price < output:
                output, by = affordable // wanted.output_price, Bound.CREDITS
        return by if output < wanted.least else output

    def grant(self, used: Amounts) -> Part[None]:
        """Grant the shares what is free, once they use this too."""
        left = self.left(used)
        first = None if left.millis is None else self.first_millis + left.millis
        yield Query(
            GRANT,
            {
                "of_owner": self.budget.owner,
                "used_shares": self.shares,
                "free_tokens": _part(left.tokens, self.shares),
                "free_credits": _part(left.credits, self.shares),
                "free_steps": _part(left.steps, self.shares),
                "new_millis": first,
            },
        )

    def refuse(self, bound: Bound) -> Part[BudgetRefused]:
        """Note that something was refused; a tree's budget is closed."""
        of = {"of_owner": self.budget.owner}
        yield Query(NOTE_REFUSAL, of | {"new_refused": bound.value, "new_noticed": SPENT})
        if self.budget.kind is BudgetKind.TREE:
            yield Query(CLOSE_SHARES, of)
        return BudgetRefused(self.budget, bound, first=self.noticed < SPENT)


def _part(left: int | None, shares: int) -> int | None:
    """Return the part of one share.

    Negative if more is used than there is: what is released then is not free.
    """
    return None if left is None else left // shares


def locked_budget(owner: str, at: int) -> Part[LockedBudget | None]:
    """Lock a budget and its shares, and begin a new period if it is due; None if there is none."""
    rows = yield Query(LOCK_BUDGET, {"of_owner": owner})
    if not rows:
        return None
    found = dict(zip(_COLUMNS, rows[0], strict=True))
    shares = [
        dict(zip(_SHARE_COLUMNS, row, strict=True))
        for row in (yield Query(LOCK_SHARES, {"of_owner": owner}))
    ]
    if found["resets_at"] is not None and at >= found["resets_at"]:
        start, end = Period(found["period"]).around(at, found["zone"])
        new = {"of_owner": owner, "new_end": end}
        yield Query(BEGIN_PERIOD, new | {"new_start": start})
        yield Query(BEGIN_SHARES, new)
        found |= {"starts_at": start, "resets_at": end, "refused": None, "noticed": 0}
        for share in shares:
            share.update({f"spent_{name}": 0 for name in (*AMOUNTS, "millis")})
    return LockedBudget(
        budget_from(found, shares),
        found["shares"],
        found["refused"],
        found["noticed"],
        shares[0]["spent_millis"],
    )


def budget_from(found: dict[str, Any], shares: Iterable[dict[str, Any]]) -> OwnedBudget:
    """Return the budget of a row, with the totals of its shares."""
    shares = list(shares)

    def total(what: str) -> Amounts:
        return Amounts(*(sum(share[f"{what}_{name}"] for share in shares) for name in AMOUNTS))

    return OwnedBudget(
        found["owner"],
        Bounds(*(found[f"max_{name}"] for name in (*AMOUNTS, "millis"))),
        Period(found["period"]),
        found["zone"],
        found["starts_at"],
        found["resets_at"],
        total("spent"),
        sum(share["spent_millis"] for share in shares),
        total("reserved"),
    )


def budget_with_totals(row: Row, at: int) -> OwnedBudget:
    """Return the budget of a row with its totals, as of this moment."""
    size = len(_COLUMNS)
    found = dict(zip(_COLUMNS, row[:size], strict=True))
    totals = dict(zip(COUNTS, row[size:], strict=True))
    if found["resets_at"] is not None and at >= found["resets_at"]:
        start, end = Period(found["period"]).around(at, found["zone"])
        found |= {"starts_at": start, "resets_at": end}
        totals |= {f"spent_{name}": 0 for name in (*AMOUNTS, "millis")}
    return budget_from(found, [totals])
