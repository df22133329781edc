"""Waits: decide one, read those of an execution, list approvals and what is due."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from outlast.model.wait import Wait
from outlast.store.driver import Driver, Part, Query, Transaction, TransactionResult
from outlast.store.unreadable import Unreadable, readable
from outlast.store.waits.decide import DecideWait, decide
from outlast.store.waits.rows import DUE_WAITS, WAITS, pending_approvals, wait_from


@dataclass(frozen=True, slots=True)
class PendingPage:
    """A page of the approvals that wait, newest first, older than `after`."""

    limit: int
    after: tuple[str, str] | None = None
    """(execution id, tool call id)."""


def _decide(request: DecideWait) -> Transaction[Wait]:
    """Decide a wait in a transaction of its own."""
    decided = yield from decide(request)
    return TransactionResult(decided.wait, decided.committed, decided.runnable)


def _of(workspace_id: str, execution_id: str) -> Transaction[tuple[Wait, ...]]:
    """The newest wait per call, in the order of the requests."""
    return TransactionResult((yield from waits_of(workspace_id, execution_id)))


def _of_each(
    workspace_id: str, execution_ids: Sequence[str]
) -> Transaction[dict[str, tuple[Wait, ...]]]:
    """The same of many executions."""
    found = {}
    for execution_id in execution_ids:
        found[execution_id] = yield from waits_of(workspace_id, execution_id)
    return TransactionResult(found)


def waits_of(workspace_id: str, execution_id: str) -> Part[tuple[Wait, ...]]:
    """The same inside another transaction."""
    rows = yield Query(WAITS, {"id": execution_id, "workspace": workspace_id})
    return tuple(wait_from(row) for row in rows)


def _pending(workspace_id: str, page: PendingPage) -> Transaction[list[Wait]]:
    """A page by keyset, and one row more to tell whether there are more."""
    parameters: dict[str, Any] = {"workspace": workspace_id, "limit": page.limit + 1}
    if page.after is not None:
        parameters["after_execution"], parameters["after_call"] = page.after
    rows = yield Query(pending_approvals(after=page.after is not None), parameters)
    return TransactionResult([wait_from(row) for row in rows])


def _due(now: int, limit: int) -> Transaction[list[tuple[str, Wait] | Unreadable]]:
    """What is due, of all workspaces."""
    rows = yield Query(DUE_WAITS, {"now": now, "limit": limit})
    return TransactionResult(
        readable(rows, lambda row: (row[0], wait_from(row[1:])), lambda row: row[:2])
    )


class WaitStore:
    """The waits of executions."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def decide(self, request: DecideWait) -> Wait:
        """Decide a wait, first decision wins; the last open one lets the execution go on.

        The same decision again returns the same. Raises ExecutionNotFound, NotFound
        (ApprovalNotFound for a person's decision), Conflict (another decision stands, or the
        execution has ended).
        """
        return await self._driver.write(lambda: _decide(request))

    async def of(self, workspace_id: str, execution_id: str) -> tuple[Wait, ...]:
        """Return the newest per call, in the order of the requests, superseded ones too."""
        return await self._driver.read(lambda: _of(workspace_id, execution_id))

    async def of_each(
        self, workspace_id: str, execution_ids: Sequence[str]
    ) -> dict[str, tuple[Wait, ...]]:
        """Return the waits of each, as `of` does, read in one moment."""
        return await self._driver.read(lambda: _of_each(workspace_id, execution_ids), snapshot=True)

    async def pending(self, workspace_id: str, page: PendingPage) -> list[Wait]:
        """Return open approvals of live executions, newest first; one more if there are more."""
        return await self._driver.read(lambda: _pending(workspace_id, page))

    async def due(self, now: int, limit: int) -> list[tuple[str, Wait] | Unreadable]:
        """Return (workspace id, wait) of all open ones whose time is over, of all workspaces."""
        return await self._driver.read(lambda: _due(now, limit))
