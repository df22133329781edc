"""Budgets that have reached a level, each once per period."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, Float, and_, bindparam, cast, literal_column, or_, text, update
from sqlalchemy.sql.expression import ColumnElement, Subquery

from outlast.model.budget import Bound, OwnedBudget
from outlast.store.budgets.shares import budget_with_totals
from outlast.store.budgets.tables import AMOUNTS, budgets, with_totals
from outlast.store.driver import Query, Statement, Transaction, TransactionResult

LEVELS: Final = (80, 100)
"""Percentages that are noticed."""


@dataclass(frozen=True, slots=True)
class ReachedLevel:
    """A budget of which this percentage is spent."""

    budget: OwnedBudget
    bound: Bound
    level: int


def _reached(found: Subquery, level: int) -> ColumnElement[bool]:
    """Whether one of its bounds has reached a level that was not noticed in this period."""
    reached = (
        cast(found.c[f"spent_{name}"], Float) * literal_column("100")
        >= cast(found.c[f"max_{name}"], Float) * literal_column(str(level))
        for name in (*AMOUNTS, "millis")
    )
    return and_(found.c.noticed < literal_column(str(level)), or_(*reached))


def _unnoticed() -> Statement:
    found = (
        with_totals()
        .where(
            text("NOT is_tree"),
            budgets.c.noticed < literal_column("100"),
            or_(
                budgets.c.resets_at.is_(None),
                budgets.c.resets_at > bindparam("at", type_=BigInteger),
            ),
        )
        .subquery("used")
    )
    wanted = or_(*(_reached(found, level) for level in LEVELS))
    return Statement(found.select().where(wanted).limit(bindparam("limit")))


UNNOTICED: Final = _unnoticed()
"""Of all workspaces: budgets that have reached a level, with their totals."""

NOTICE: Final = Statement(
    update(budgets)
    .where(
        budgets.c.owner == bindparam("of_owner"),
        budgets.c.noticed < bindparam("level", type_=BigInteger),
    )
    .values(noticed=bindparam("level", type_=BigInteger))
    .returning(budgets.c.owner)
)


def notice(at: int, limit: int) -> Transaction[list[ReachedLevel]]:
    """Note the levels that budgets have reached, and return those that no process has noted."""
    noted: list[ReachedLevel] = []
    for row in (yield Query(UNNOTICED, {"at": at, "limit": limit})):
        budget = budget_with_totals(row, at)
        bound, level = _highest(budget)
        if (yield Query(NOTICE, {"of_owner": budget.owner, "level": level})):
            noted.append(ReachedLevel(budget, bound, level))
    return TransactionResult(noted)


def _highest(budget: OwnedBudget) -> tuple[Bound, int]:
    """Return the bound of which most is spent, and the level that it has reached."""
    bounds, spent = budget.bounds, budget.spent
    figures = (
        (Bound.TOKENS, bounds.tokens, spent.tokens),
        (Bound.CREDITS, bounds.credits, spent.credits),
        (Bound.STEPS, bounds.steps, spent.steps),
        (Bound.SECONDS, bounds.millis, budget.spent_millis),
    )
    percents = [
        (used * 100 / most if most else 100.0, bound)
        for bound, most, used in figures
        if most is not None
    ]
    percent, bound = max(percents, key=lambda pair: pair[0])
    return bound, max((level for level in LEVELS if level <= percent), default=LEVELS[0])
