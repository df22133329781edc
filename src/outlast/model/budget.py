"""Budgets: how much may be spent by an owner in a period, and what is reserved of it.

An owner is an execution with all that it has called, a conversation, an API key or a workspace. Its
id names it. Credits are billionths, times milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from outlast.model import ids
from outlast.model.amount import amount
from outlast.model.error import BudgetExceeded, QuotaExceeded
from outlast.model.price import credits_of

LEAST_OUTPUT: Final = 256
"""Minimum tokens of an answer for which a request is made."""
MOST_BOUND: Final = 9_000_000_000
"""Highest bound of credits, and of seconds: keeps every sum of billionths inside 64 bits."""
MOST_OUTPUT: Final = 16_384
"""Maximum tokens that are reserved for an answer whose length is not bounded."""


def least_output(settings: Mapping[str, Any]) -> int:
    """Return the minimum tokens of an answer for which an agent's request is made."""
    most = settings.get("max_tokens")
    return LEAST_OUTPUT if most is None else min(LEAST_OUTPUT, most)


class BudgetKind(StrEnum):
    """Whose budget it is; also the prefix of the owner's id."""

    TREE = ids.EXECUTION
    CONVERSATION = ids.CONVERSATION
    KEY = ids.KEY
    WORKSPACE = ids.WORKSPACE

    @classmethod
    def of(cls, owner: str) -> "BudgetKind":
        """Return the kind of an owner by its id."""
        return cls(owner.partition("_")[0])

    @property
    def counts_overlap_once(self) -> bool:
        """Whether work at the same time counts once for a bound of seconds."""
        return self in (BudgetKind.TREE, BudgetKind.CONVERSATION)


class Period(StrEnum):
    """How often a budget begins anew."""

    NONE = "none"
    DAY = "day"
    MONTH = "month"

    def around(self, at: int, zone: str) -> tuple[int, int | None]:
        """Return the start of the period that holds this moment, and of the next; 0 and None."""
        if self is Period.NONE:
            return 0, None
        here = datetime.fromtimestamp(at / 1000, _zone(zone))
        first = here.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        if self is Period.DAY:
            following = first + timedelta(days=1)
        else:
            first = first.replace(day=1)
            following = (first + timedelta(days=32)).replace(day=1)
        return _millis(first), _millis(following)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _millis(moment: datetime) -> int:
    """Return a local time as milliseconds since the epoch; one that clocks skip is the next."""
    return round(moment.astimezone(UTC).timestamp() * 1000)


class Bound(StrEnum):
    """What a budget bounds."""

    TOKENS = "tokens"
    CREDITS = "credits"
    STEPS = "steps"
    SECONDS = "seconds"


@dataclass(frozen=True, slots=True)
class Amounts:
    """Tokens, billionths of a credit, and steps."""

    tokens: int = 0
    credits: int = 0
    steps: int = 0

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(
            self.tokens + other.tokens, self.credits + other.credits, self.steps + other.steps
        )

    def __sub__(self, other: "Amounts") -> "Amounts":
        return Amounts(
            self.tokens - other.tokens, self.credits - other.credits, self.steps - other.steps
        )

    def __bool__(self) -> bool:
        return self != NO_AMOUNTS


NO_AMOUNTS: Final = Amounts()


@dataclass(frozen=True, slots=True)
class Bounds:
    """Maxima; None means no bound."""

    tokens: int | None = None
    credits: int | None = None
    steps: int | None = None
    millis: int | None = None

    def __bool__(self) -> bool:
        return self != _NO_BOUNDS


_NO_BOUNDS: Final = Bounds()


@dataclass(frozen=True, slots=True)
class Reservation:
    """What an execution has reserved of budgets, for a model request or for tool calls."""

    amounts: Amounts
    owners: tuple[str, ...]
    calls: bool = False
    """For tool calls, one step each; they outlast a crash, a model request does not."""
    shares: tuple[int, ...] = ()
    """The share of each owner's budget that it was taken from; empty if an older process made it.

    It is released there, wherever the execution spends from by then.
    """
    made: tuple[int, ...] = ()
    """When each of these budgets was made; 0 if it is made with the reservation.

    In one that was removed and made again, this has reserved nothing.
    """

    def less(self, used: Amounts) -> "Reservation | None":
        """Return what is left once this was used; None if nothing is."""
        left = Amounts(
            0,
            max(0, self.amounts.credits - used.credits),
            max(0, self.amounts.steps - used.steps),
        )
        return replace(self, amounts=left) if left.steps else None

    def of(self, owner: str, made: int) -> Amounts:
        """Return what is reserved in one owner's budget, which was made at this moment."""
        return self.amounts if self.names(owner, made) else NO_AMOUNTS

    def names(self, owner: str, made: int) -> bool:
        """Return whether it is in one owner's budget, which was made at this moment."""
        if owner not in self.owners:
            return False
        return not self.made or self.made[self.owners.index(owner)] in (0, made)

    def share_of(self, owner: str) -> int | None:
        """Return the share that it was taken from; None: not in this budget, or unknown."""
        known = self.shares and owner in self.owners
        return self.shares[self.owners.index(owner)] if known else None

    def as_json(self) -> dict[str, Any]:
        """Return it as stored."""
        found = self.amounts
        return {
            "tokens": found.tokens,
            "credits": found.credits,
            "steps": found.steps,
            "owners": self.owners,
            "calls": self.calls,
            "shares": self.shares,
            "made": self.made,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Reservation":
        """Read it as stored."""
        found = Amounts(data["tokens"], data["credits"], data["steps"])
        owners, shares = tuple(data["owners"]), tuple(data.get("shares", ()))
        return cls(found, owners, data["calls"], shares, tuple(data.get("made", ())))


@dataclass(frozen=True, slots=True)
class OwnedBudget:
    """A budget and what is spent of it."""

    owner: str
    bounds: Bounds
    period: Period = Period.NONE
    zone: str = "UTC"
    starts_at: int = 0
    """Start of the current period, in milliseconds since the epoch."""
    resets_at: int | None = None
    """Start of the next period; None if there is none."""
    spent: Amounts = NO_AMOUNTS
    spent_millis: int = 0
    reserved: Amounts = NO_AMOUNTS

    @property
    def kind(self) -> BudgetKind:
        """Whose budget it is."""
        return BudgetKind.of(self.owner)

    @property
    def remaining(self) -> Bounds:
        """What is neither spent nor reserved, of what has a bound."""
        used = self.spent + self.reserved
        most = self.bounds
        return Bounds(
            None if most.tokens is None else max(0, most.tokens - used.tokens),
            None if most.credits is None else max(0, most.credits - used.credits),
            None if most.steps is None else max(0, most.steps - used.steps),
            None if most.millis is None else max(0, most.millis - self.spent_millis),
        )

    def spent_bound(self, least_output: int) -> Bound | None:
        """Return the bound of which no request is possible any more; None if there is none.

        `least_output`: minimum tokens of its answer.
        """
        bounds, spent = self.bounds, self.spent
        if bounds.tokens is not None and bounds.tokens - spent.tokens < least_output:
            return Bound.TOKENS
        if bounds.credits is not None and bounds.credits <= spent.credits:
            return Bound.CREDITS
        if bounds.steps is not None and bounds.steps <= spent.steps:
            return Bound.STEPS
        if bounds.millis is not None and bounds.millis <= self.spent_millis:
            return Bound.SECONDS
        return None

    def exceeded(self, bound: Bound, at: int) -> QuotaExceeded:
        """Return the error of a request that is refused at this moment."""
        left = None if self.resets_at is None else -(-(self.resets_at - at) // 1000)
        return QuotaExceeded(self.spends(bound), retry_after=left)

    def spends(self, bound: Bound) -> str:
        """Return the sentence that says which budget is spent, and how far."""
        most, used, reserved = self._figures(bound)
        of = "" if self.period is Period.NONE else f" a {self.period.value}"
        more = f", {reserved} reserved" if reserved is not None else ""
        return f"The budget of {self.whose}, {most}{of}, is spent ({used} used{more})."

    @property
    def whose(self) -> str:
        """The owner in words."""
        match self.kind:
            case BudgetKind.TREE:
                return f"execution {self.owner} and what it has called"
            case BudgetKind.CONVERSATION:
                return f"conversation {self.owner}"
            case BudgetKind.KEY:
                return f"key {self.owner}"
            case BudgetKind.WORKSPACE:
                return "the workspace"

    def _figures(self, bound: Bound) -> tuple[str, str, str | None]:
        bounds, spent, reserved = self.bounds, self.spent, self.reserved
        match bound:
            case Bound.TOKENS:
                return f"{bounds.tokens} tokens", str(spent.tokens), str(reserved.tokens)
            case Bound.CREDITS:
                figures = (bounds.credits or 0, spent.credits, reserved.credits)
                most, used, held = (f"{credits_of(nano):.9g}" for nano in figures)
                return f"{most} credits", used, held
            case Bound.STEPS:
                return amount(bounds.steps or 0, "step"), str(spent.steps), str(reserved.steps)
            case Bound.SECONDS:
                most = amount((bounds.millis or 0) / 1000, "second")
                return most, f"{self.spent_millis / 1000:.9g}", None


class BudgetRefused(BudgetExceeded):
    """A budget that this execution spends from has no room for its next step."""

    def __init__(self, budget: OwnedBudget, bound: Bound, *, first: bool = False) -> None:
        """`first`: nothing was refused before in this period."""
        super().__init__(budget.spends(bound))
        self.budget, self.bound, self.first = budget, bound, first
