"""The store's port, lists of executions: what is long is cut."""

from collections.abc import Sequence
from typing import Protocol

from outlast.store.executions.lists import ExecutionFilter, Listed, ShortSteps
from outlast.store.page import Page


class ListStore(Protocol):
    """Executions as lists show them."""

    async def listed(self, workspace_id: str, wanted: ExecutionFilter, page: Page) -> list[Listed]:
        """Newest first, cut; one more than page.limit where there are more."""
        ...

    async def short_steps(
        self, workspace_id: str, execution_ids: Sequence[str]
    ) -> dict[str, ShortSteps]:
        """The first tool calls of each that stand, without those that are long."""
        ...
