"""Tells the operator that a budget has reached a level: in the log, and in a metric."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from outlast.model.budget import Bound, BudgetRefused, OwnedBudget

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BudgetNotices:
    """Tells of levels, each once in a budget's period."""

    count: Callable[[str, int], None]
    """Counts a kind of owner and a percentage."""

    def reached(self, budget: OwnedBudget, bound: Bound, level: int) -> None:
        """Tell that this percentage of a budget is spent."""
        kind = budget.kind.name.lower()
        logger.warning(
            "budget.reached", owner=budget.owner, kind=kind, bound=bound.value, percent=level
        )
        self.count(kind, level)

    def refused(self, error: BudgetRefused) -> None:
        """Tell of the first refusal of a budget's period."""
        self.reached(error.budget, error.bound, 100)
