"""Budgets: a method for each transaction."""

from collections.abc import Collection

from outlast.model.budget import BudgetRefused, OwnedBudget
from outlast.store.budgets.levels import ReachedLevel, notice
from outlast.store.budgets.read import BudgetPage, read_budgets, read_page
from outlast.store.budgets.reserve import Reserve, Reserved, note_refusal, reserve, reserve_in_one
from outlast.store.budgets.shares import NONE_FULL, fitted
from outlast.store.budgets.write import NewBudget, put_budget, remove_budget
from outlast.store.driver import Driver


class BudgetStore:
    """Budgets by owner, and what executions reserve of them."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def reserve(self, request: Reserve) -> Reserved:
        """Reserve what a step needs, in every budget or in none. Raises BudgetRefused, StaleWrite.

        A power cut may lose it, with the process that is to spend it.
        """
        of, full = (request.execution.id,), NONE_FULL
        if len(request.applying) == 1 and request.execution.reserved is None:
            made = await self._driver.write(lambda: reserve_in_one(request), durable=False, of=of)
            if made is not None:
                return made
            full = frozenset(one.owner for one in request.applying)
        found = await fitted(
            lambda full: self._driver.write(lambda: reserve(request, full), durable=False, of=of),
            full,
        )
        if isinstance(found, BudgetRefused):
            raise found
        return found

    async def note_refusal(self, refused: BudgetRefused, at: int) -> bool:
        """Note what `advance` has refused; return whether it is the first time in this period."""
        return await self._driver.write(lambda: note_refusal(refused, at), durable=False)

    async def notice(self, at: int, limit: int) -> list[ReachedLevel]:
        """Note the levels that budgets have reached; return those that no process has noted."""
        return await self._driver.write(lambda: notice(at, limit), durable=False)

    async def put(self, new: NewBudget) -> OwnedBudget:
        """Set the bounds of an owner, who was found in the workspace."""
        return await self._driver.write(lambda: put_budget(new))

    async def remove(self, workspace_id: str, owner: str) -> bool:
        """Remove the budget of an owner; return whether there was one."""
        return await self._driver.write(lambda: remove_budget(workspace_id, owner))

    async def page(self, workspace_id: str, wanted: BudgetPage, at: int) -> list[OwnedBudget]:
        """Return a page by owner, as of this moment; one more than its limit if there are more."""
        return await self._driver.read(lambda: read_page(workspace_id, wanted, at))

    async def of(
        self, workspace_id: str, owners: Collection[str], at: int
    ) -> dict[str, OwnedBudget]:
        """Return the budgets of these owners, at most four, as of this moment."""
        return await self._driver.read(lambda: read_budgets(workspace_id, owners, at), light=True)
