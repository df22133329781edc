"""View models of budgets: each bound with what is spent, reserved and left of it."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from outlast.model.budget import BudgetKind, OwnedBudget, Period
from outlast.model.price import NANO

BOUNDS: Final = {
    "credits": "Credits",
    "tokens": "Tokens",
    "steps": "Steps",
    "seconds": "Seconds",
}
_KINDS: Final = {
    BudgetKind.WORKSPACE: "The workspace",
    BudgetKind.KEY: "Key",
    BudgetKind.CONVERSATION: "Conversation",
    BudgetKind.TREE: "Execution",
}
_PERIODS: Final = {Period.DAY: "a day", Period.MONTH: "a month"}
WIDTH: Final = 200


@dataclass(frozen=True, slots=True)
class Level:
    """One bound, and how far it is used."""

    word: str
    most: str
    spent: str
    reserved: str
    width: float
    """Of the bar, of `WIDTH`."""
    is_spent: bool


@dataclass(frozen=True, slots=True)
class ShownBudget:
    """A budget of an owner."""

    owner: str
    whose: str
    per: str
    levels: list[Level]
    fields: list[tuple[str, str, str]]
    """Name, word and bound of each field of its form."""
    period: str
    zone: str
    resets_at: int | None
    may_change: bool
    exists: bool
    is_workspace: bool


def shown_budget(found: OwnedBudget, workspace_id: str) -> ShownBudget:
    """Return a budget for its page."""
    bounds, spent, reserved = found.bounds, found.spent, found.reserved
    amounts: dict[str, tuple[Decimal | None, Decimal, Decimal]] = {
        "credits": (_credits(bounds.credits), _credit(spent.credits), _credit(reserved.credits)),
        "tokens": (_count(bounds.tokens), Decimal(spent.tokens), Decimal(reserved.tokens)),
        "steps": (_count(bounds.steps), Decimal(spent.steps), Decimal(reserved.steps)),
        "seconds": (_seconds(bounds.millis), _second(found.spent_millis), Decimal(0)),
    }
    levels = [
        _level(BOUNDS[name], most, used, held)
        for name, (most, used, held) in amounts.items()
        if most is not None
    ]
    fields = [
        (name, BOUNDS[name], "" if most is None else _plain(most))
        for name, (most, *_) in amounts.items()
    ]
    kind = found.kind
    return ShownBudget(
        found.owner,
        _KINDS[kind],
        _PERIODS.get(found.period, "in all"),
        levels,
        fields,
        found.period.value,
        found.zone,
        found.resets_at,
        kind is not BudgetKind.TREE,
        exists=True,
        is_workspace=found.owner == workspace_id,
    )


def empty_budget(owner: str, workspace_id: str) -> ShownBudget:
    """Return what is shown of an owner without a budget."""
    kind = BudgetKind.of(owner)
    return ShownBudget(
        owner,
        _KINDS[kind],
        "",
        [],
        [(name, word, "") for name, word in BOUNDS.items()],
        Period.NONE.value,
        "UTC",
        None,
        kind is not BudgetKind.TREE,
        exists=False,
        is_workspace=owner == workspace_id,
    )


def _level(word: str, most: Decimal, used: Decimal, held: Decimal) -> Level:
    share = 1.0 if not most else min(1.0, float((used + held) / most))
    reserved = _grouped(held) if held else ""
    is_spent = used + held >= most
    return Level(word, _grouped(most), _grouped(used), reserved, round(WIDTH * share, 1), is_spent)


def _credits(nano: int | None) -> Decimal | None:
    return None if nano is None else _credit(nano)


def _credit(nano: int) -> Decimal:
    return Decimal(nano) / NANO


def _count(found: int | None) -> Decimal | None:
    return None if found is None else Decimal(found)


def _seconds(millis: int | None) -> Decimal | None:
    return None if millis is None else _second(millis)


def _second(millis: int) -> Decimal:
    return Decimal(millis) / 1000


def _plain(found: Decimal) -> str:
    text = f"{found:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _grouped(found: Decimal) -> str:
    text = f"{found:,.3f}"
    return text.rstrip("0").rstrip(".")
