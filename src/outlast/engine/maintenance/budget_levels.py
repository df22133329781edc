"""Notices budgets of which 80 or 100 percent are spent, once in each period."""

from typing import Final

from outlast.engine.budget_notices import BudgetNotices
from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.model.clock import Clock
from outlast.store.budgets.store import BudgetStore

BUDGET_LEVELS: Final = "budget_levels"
_EVERY_SECONDS: Final = 10.0
_LIMIT: Final = 100


class BudgetLevels:
    """Notices levels; of concurrent runs one notes each."""

    def __init__(self, store: BudgetStore, clock: Clock, notices: BudgetNotices) -> None:
        self._store = store
        self._clock = clock
        self._notices = notices

    @property
    def duty(self) -> MaintenanceDuty:
        """Every ten seconds."""
        return MaintenanceDuty(BUDGET_LEVELS, _EVERY_SECONDS, _LIMIT, self.run)

    async def run(self, limit: int) -> int:
        """Notice at most `limit` budgets; return how many."""
        found = await self._store.notice(self._clock.now(), limit)
        for one in found:
            self._notices.reached(one.budget, one.bound, one.level)
        return len(found)
