"""Spends, reserves and releases in the shares of budgets, inside other transactions.

A share is moved by one statement. Only if a reservation does not fit in it, or a new period has
begun, are the budget and all of its shares locked, and what is free is granted anew. What was
reserved is released in the share that it was taken from, though the execution may spend from
another by then.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias, TypeVar
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

T = TypeVar("T")

SHARES: Final = 8
"""Shares of the budget of a key or workspace, from which many executions spend at once."""
SPENT: Final = 100
"""Percentage at which a budget is spent."""
_COLUMNS: Final = tuple(column.name for column in budgets.c)
_SHARE_COLUMNS: Final = tuple(column.name for column in budget_shares.c)

Full: TypeAlias = frozenset[str]
"""Owners of budgets in whose share an earlier attempt found no room: they are locked at once."""
NONE_FULL: Final[Full] = frozenset()


class ShareFull(Exception):
    """A share has no room for a reservation.

    On Postgres the statement that finds this out behind another transaction keeps the lock of the
    share, and a budget is locked before its shares: so the transaction is rolled back first.
    """

    def __init__(self, *owners: str) -> None:
        super().__init__(*owners)
        self.owners = owners


async def fitted(attempt: Callable[[Full], Awaitable[T]], full: Full = NONE_FULL) -> T:
    """Make a transaction again, with the budgets locked, until every share has room or refuses.

    `attempt` is made anew with the owners of all budgets whose shares had none.
    """
    while True:
        try:
            return await attempt(full)
        except ShareFull as found:
            full |= frozenset(found.owners)


@dataclass(frozen=True, slots=True)
class Applying:
    """A budget that an execution spends from."""

    owner: str
    resets_at: int | None
    shares: int
    made: int
    """When it was made; it may have been removed since, and another one made."""

    @classmethod
    def read(cls, text: str | None) -> tuple["Applying", ...]:
        """Read what `APPLYING` selects, in the order of locks."""
        if not text:
            return ()
        found = (one.split(" ") for one in text.split(","))
        return tuple(
            sorted(
                (
                    cls(owner, int(ends) or None, int(shares), int(made))
                    for owner, ends, shares, made in found
                ),
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
    of_request: bool = False
    """Whether it is of a request without an execution: what refuses it raises QuotaExceeded."""

    def __bool__(self) -> bool:
        held = self.released is not None or self.held is not None
        return bool(self.spent) or held or self.since < self.at

    def holds_in(self, one: Applying) -> bool:
        """Return whether it reserves something in this budget."""
        return self.held is not None and self.held.names(one.owner, one.made)

    def parameters(self, one: Applying) -> list[dict[str, Any]]:
        """Return those of the statements that move the shares of one budget, in their order.

        More than one only if something was reserved before the number of shares has changed.
        """
        own = share_of(self.tree, one.shares)
        moves = {own: _still(one, own, self.at) | _named("more", self.spent)}
        moves[own]["since"] = self.since
        for prefix, reservation in (("less", self.released), ("held", self.held)):
            if reservation is not None and reservation.names(one.owner, one.made):
                taken = reservation.share_of(one.owner)
                number = own if taken is None else taken
                moves.setdefault(number, _still(one, number, self.at))
                moves[number] |= _named(prefix, reservation.amounts)
        return [moves[number] for number in sorted(moves)]


def _still(one: Applying, share: int, at: int) -> dict[str, Any]:
    """Return the parameters of a statement that changes nothing in a share."""
    of = {"of_owner": one.owner, "of_share": share, "made": one.made, "at": at, "since": at}
    return _NO_CHANGE | of


def _named(prefix: str, amounts: Amounts) -> dict[str, int]:
    return {
        f"{prefix}_tokens": amounts.tokens,
        f"{prefix}_credits": amounts.credits,
        f"{prefix}_steps": amounts.steps,
    }


_NO_CHANGE: Final[dict[str, Any]] = {
    name: amount
    for prefix in ("more", "less", "held")
    for name, amount in _named(prefix, NO_AMOUNTS).items()
}


def held_in(
    applying: Iterable[Applying], tree: str, amounts: Amounts, *, calls: bool = False
) -> Reservation:
    """Return a reservation in each of these budgets, in the shares of this tree."""
    found = tuple(applying)
    owners = tuple(one.owner for one in found)
    shares = tuple(share_of(tree, one.shares) for one in found)
    return Reservation(amounts, owners, calls, shares, tuple(one.made for one in found))


def share_of(tree: str, shares: int) -> int:
    """Return the number of the share from which a tree spends."""
    return crc32(tree.encode()) % shares if shares > 1 else 0


def change_shares(
    applying: Iterable[Applying], change: Change, *, alone: bool = True, full: Full = NONE_FULL
) -> Part[None]:
    """Apply a change to the budgets of an execution or a request, in the order of locks.

    `alone`: nothing else in the transaction moves these shares. Raises BudgetRefused, QuotaExceeded
    and ShareFull; then it must be rolled back.
    """
    if not change:
        return
    for one in applying:
        first, *more = change.parameters(one)
        if change.holds_in(one):
            if more or one.owner in full:
                yield from _fit_held(one, change)
            elif not (yield Query(RESERVE_IN_SHARE, first)):
                raise ShareFull(one.owner)
        elif more or (one.resets_at is not None and change.at >= one.resets_at):
            yield from locked_budget(one.owner, change.at)
            yield from moved_locked(first, *more)
        else:
            yield Query(MOVE_SHARE if alone else MOVE_LOCKED_SHARE, first)


def moved_locked(*moves: dict[str, Any]) -> Part[None]:
    """Move shares of a budget that is locked."""
    for parameters in moves:
        yield Query(MOVE_LOCKED_SHARE, parameters)


def _fit_held(one: Applying, change: Change) -> Part[None]:
    """Spend and reserve in a locked budget. Raises BudgetRefused, QuotaExceeded."""
    locked = yield from locked_budget(one.owner, change.at)
    if locked is None:
        return
    now = locked.applying
    held, less = (
        NO_AMOUNTS if reservation is None else reservation.of(now.owner, now.made)
        for reservation in (change.held, change.released)
    )
    wanted = Wanted(held.tokens, held.credits, 0, 0, held.steps)
    used = change.spent - less
    fits = locked.fits(wanted, used)
    if isinstance(fits, Bound):
        spent = locked.budget
        spent = replace(spent, spent=spent.spent + change.spent, reserved=spent.reserved - less)
        if change.of_request:
            raise spent.exceeded(fits, change.at)
        raise BudgetRefused(spent, fits, first=locked.noticed < SPENT)
    yield from moved_locked(*change.parameters(now))
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
    made: int

    @property
    def applying(self) -> Applying:
        """The budget as executions spend from it now."""
        return Applying(self.budget.owner, self.budget.resets_at, self.shares, self.made)

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
        found["created_at"],
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
