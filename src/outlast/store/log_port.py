"""The store's port, executions' logs."""

from typing import Protocol

from outlast.model.event import Cursor, Entry
from outlast.store.executions.values import LogPage


class LogStore(Protocol):
    """The logs of executions."""

    async def log(
        self, workspace_id: str, execution_id: str, after: Cursor, limit: int
    ) -> tuple[Entry, ...]:
        """Up to `limit` entries that end after the cursor, in order."""
        ...

    async def log_page(self, workspace_id: str, execution_id: str, after: Cursor) -> LogPage:
        """The next entries that end after the cursor, as many as fit a page of some kilobytes."""
        ...

    async def reaches(self, workspace_id: str, execution_id: str, cursor: Cursor) -> bool:
        """Whether there is an entry that ends after the cursor."""
        ...
