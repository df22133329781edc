"""Waits: decide one, read those of an execution, list open approvals and due waits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from outlast.model.wait import Wait, WaitKind
from outlast.store.conversations.rows import DECIDED_IN_CONVERSATION
from outlast.store.driver import Driver, Part, Query, Together, Transaction, TransactionResult
from outlast.store.executions.below import ALL_BELOW
from outlast.store.unreadable import Unreadable, readable
from outlast.store.waits.awaited import AwaitedPage, read_awaited, read_open, read_wait
from outlast.store.waits.decide import DecideWait, decide
from outlast.store.waits.rows import (
    DUE_WAITS,
    OPEN_BELOW,
    WAIT,
    WAITS,
    pending_approvals,
    wait_from,
    wait_of,
    wait_or_part,
)


@dataclass(frozen=True, slots=True)
class PendingPage:
    """A page of open approvals, newest first, older than `after`."""

    limit: int
    after: tuple[str, str] | None = None
    """(execution id, tool call id)."""


def _decide(request: DecideWait) -> Transaction[Wait]:
    """Decide a wait in a transaction of its own; what a person or a client decides is activity."""
    if request.decision is not None:
        of = {"workspace": request.workspace_id, "id": request.execution_id, "at": request.at}
        yield Query(DECIDED_IN_CONVERSATION, of)
    decided = yield from decide(request)
    return TransactionResult(decided.wait, decided.committed, decided.runnable)


def _of(workspace_id: str, execution_id: str) -> Transaction[tuple[Wait, ...]]:
    """Read the newest wait per call, in the order of the requests."""
    return TransactionResult((yield from waits_of(workspace_id, execution_id)))


def _of_each(
    workspace_id: str, execution_ids: Sequence[str]
) -> Transaction[dict[str, tuple[Wait, ...]]]:
    """Read the same for many executions."""
    of_one = ({"id": execution_id, "workspace": workspace_id} for execution_id in execution_ids)
    answers = yield Together(tuple(Query(WAITS, parameters) for parameters in of_one))
    found = {
        execution_id: tuple(map(wait_or_part, rows))
        for execution_id, rows in zip(execution_ids, answers, strict=True)
    }
    parents = [one for one, waits in found.items() if _waits_for_child(waits)]
    if parents:
        of_parents = ({"id": one, "workspace": workspace_id} for one in parents)
        answers = yield Together(tuple(Query(OPEN_BELOW, of) for of in of_parents))
        for execution_id, rows in zip(parents, answers, strict=True):
            found[execution_id] += tuple(map(wait_or_part, rows))
    return TransactionResult(found)


def waits_of(workspace_id: str, execution_id: str) -> Part[tuple[Wait, ...]]:
    """Read the same inside another transaction."""
    rows = yield Query(WAITS, {"id": execution_id, "workspace": workspace_id})
    return tuple(wait_of(row) for row in rows)


def awaited_below(
    workspace_id: str, execution_id: str, waits: Iterable[Wait]
) -> Part[tuple[Wait, ...]]:
    """Return what is awaited below an execution of a person or the client, if it awaits a child.

    Also those of a child that runs meanwhile, or is paused: its parent shows what it would show.
    """
    if not _waits_for_child(waits):
        return ()
    rows = yield Query(OPEN_BELOW, {"id": execution_id, "workspace": workspace_id})
    return tuple(map(wait_of, rows))


def _waits_for_child(waits: Iterable[Wait]) -> bool:
    return any(wait.is_open and wait.kind is WaitKind.CHILD for wait in waits)


def _below(workspace_id: str, execution_id: str, tool_call_id: str) -> Transaction[Wait | None]:
    """Read the wait of a call of a descendant for a person or the client."""
    below = yield Query(ALL_BELOW, {"id": execution_id, "workspace": workspace_id})
    of_call = {"workspace": workspace_id, "tool_call": tool_call_id}
    each = tuple(Query(WAIT, of_call | {"id": one}) for (one,) in below)
    if not each:
        return TransactionResult(None)
    answers = yield Together(each)
    found = (wait_of(row) for rows in answers for row in rows)
    return TransactionResult(next((one for one in found if one.is_approval or one.is_client), None))


def _pending(workspace_id: str, page: PendingPage) -> Transaction[list[Wait]]:
    """Read a page by keyset, and one more row to tell whether there are more."""
    parameters: dict[str, Any] = {"workspace": workspace_id, "limit": page.limit + 1}
    if page.after is not None:
        parameters["after_execution"], parameters["after_call"] = page.after
    rows = yield Query(pending_approvals(after=page.after is not None), parameters)
    return TransactionResult([wait_or_part(row) for row in rows])


def _due(now: int, limit: int) -> Transaction[list[tuple[str, Wait] | Unreadable]]:
    """Read due waits, of all workspaces."""
    rows = yield Query(DUE_WAITS, {"now": now, "limit": limit})
    return TransactionResult(
        readable(rows, lambda row: (row[0], wait_from(row[1:])), lambda row: row[:2])
    )


class WaitStore:
    """The waits of executions."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def decide(self, request: DecideWait) -> Wait:
        """Decide a wait, first decision wins; the last open one resumes the execution.

        The same decision again returns the same. Raises ExecutionNotFound, NotFound
        (ApprovalNotFound for a person's decision), Conflict (another decision stands, or the
        execution has ended).
        """
        return await self._driver.write(lambda: _decide(request))

    async def of(self, workspace_id: str, execution_id: str) -> tuple[Wait, ...]:
        """Return the newest wait per call, in the order of the requests, superseded ones too."""
        return await self._driver.read(lambda: _of(workspace_id, execution_id))

    async def of_each(
        self, workspace_id: str, execution_ids: Sequence[str]
    ) -> dict[str, tuple[Wait, ...]]:
        """Return the waits of each like `of`, and those open below it for a person or the client.

        Read in one snapshot.
        """
        return await self._driver.read(lambda: _of_each(workspace_id, execution_ids), snapshot=True)

    async def below(self, workspace_id: str, execution_id: str, tool_call_id: str) -> Wait | None:
        """Return the wait of this call of a descendant for a person or the client, decided or not.

        None if none has it.
        """
        return await self._driver.read(lambda: _below(workspace_id, execution_id, tool_call_id))

    async def pending(self, workspace_id: str, page: PendingPage) -> list[Wait]:
        """Return open approvals of live executions, newest first; one more if there are more."""
        return await self._driver.read(lambda: _pending(workspace_id, page))

    async def awaited(self, workspace_id: str, page: AwaitedPage) -> list[Wait]:
        """Return what waits for a person or a client, the first to expire first; one more."""
        return await self._driver.read(lambda: read_awaited(workspace_id, page), snapshot=True)

    async def open(self, workspace_id: str, execution_id: str, *, below: bool) -> list[Wait]:
        """Return what an execution waits for of these, and with `below` what it has called."""
        return await self._driver.read(lambda: read_open(workspace_id, execution_id, below=below))

    async def one(self, workspace_id: str, execution_id: str, tool_call_id: str) -> Wait | None:
        """Return the wait of a call, decided or not; None if there is none, or it is superseded."""
        return await self._driver.read(lambda: read_wait(workspace_id, execution_id, tool_call_id))

    async def due(self, now: int, limit: int) -> list[tuple[str, Wait] | Unreadable]:
        """Return (workspace id, wait) of all due open waits, of all workspaces."""
        return await self._driver.read(lambda: _due(now, limit))
