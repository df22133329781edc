"""Transactions on waits: request, decide once, list."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from outlast.model.error import ApprovalNotFound, Conflict, InvalidField
from outlast.model.event import ApprovalResolved, Entry
from outlast.model.execution import TERMINAL, Execution, Status
from outlast.model.wait import Decision, Wait, WaitKind
from outlast.store.driver import Driver, Part, Query, Transaction, TransactionResult
from outlast.store.executions.locks import compare_and_set, locked
from outlast.store.executions.log import append
from outlast.store.executions.values import Advance
from outlast.store.listeners import Committed
from outlast.store.tables import to_json
from outlast.store.unreadable import Unreadable, readable
from outlast.store.waits.rows import (
    BEGIN_APPROVED,
    DECIDE_WAIT,
    DUE_WAITS,
    FORGET_WAIT,
    INSERT_WAIT,
    SOME_DECIDED,
    SOME_OPEN,
    WAIT,
    WAITS,
    pending_approvals,
    wait_columns,
    wait_from,
)


@dataclass(frozen=True, slots=True)
class DecideWait:
    """Somebody's decision of one approval; without a key its time ran out."""

    workspace_id: str
    execution_id: str
    tool_call_id: str
    at: int
    decision: Decision
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class PendingPage:
    """A stretch of the approvals that wait, newest first, older than `after`."""

    limit: int
    after: tuple[str, str] | None = None
    """(execution id, tool call id)."""


def asked(move: Advance) -> Part[None]:
    """What `advance` asks, each in the place of what was asked of the call before, and begins."""
    execution = move.after
    for approval in move.waits:
        yield Query(FORGET_WAIT, {"id": execution.id, "tool_call": approval.tool_call_id})
        yield Query(INSERT_WAIT, wait_columns(execution.workspace_id, approval))
    for call in move.begun:
        yield Query(
            BEGIN_APPROVED, {"id": execution.id, "tool_call": call, "at": execution.updated_at}
        )


def unless_decided(execution: Execution) -> Part[Execution]:
    """A suspended execution whose last approval was decided meanwhile goes on at once."""
    if execution.status is not Status.SUSPENDED:
        return execution
    of = {"id": execution.id}
    if (yield Query(SOME_OPEN, of | {"workspace": execution.workspace_id})):
        return execution
    if not (yield Query(SOME_DECIDED, of)):
        return execution
    return (yield from _released(execution, execution.updated_at))


def _released(execution: Execution, at: int) -> Part[Execution]:
    after = replace(execution, status=Status.QUEUED, updated_at=at)
    yield compare_and_set(execution, after, keep_pause=True)
    return after


def _decide(request: DecideWait) -> Transaction[Wait]:
    """Lock the execution, compare and set; the last open one makes a suspended execution run."""
    execution = yield from locked(request.workspace_id, request.execution_id)
    approval = yield from _approval(request)
    if approval.decided_at is not None:
        if request.key_id is not None:
            _require_same(approval, request.decision)
        return TransactionResult(approval)
    if request.key_id is None and (approval.expires_at is None or approval.expires_at > request.at):
        return TransactionResult(approval)  # it was asked again meanwhile
    if execution.status in TERMINAL:
        raise Conflict(f"The execution is {execution.status.value}; nothing is to be decided.")
    decided = _decided(approval, request)
    rows = yield Query(DECIDE_WAIT, _decision_columns(decided, request))
    assert rows
    entries = yield from append(execution, request.at, (resolved(decided),))
    after = replace(execution, updated_at=request.at)
    runnable: tuple[Execution, ...] = ()
    if execution.status is Status.SUSPENDED:
        after = yield from unless_decided(after)
        runnable = (after,) if after.status is Status.QUEUED else ()
    return TransactionResult(decided, (_committed(after, entries),), runnable)


def _approval(request: DecideWait) -> Part[Wait]:
    of = {"workspace": request.workspace_id, "id": request.execution_id}
    rows = yield Query(WAIT, of | {"tool_call": request.tool_call_id})
    if not rows:
        raise ApprovalNotFound
    return wait_from(rows[0])


def _require_same(approval: Wait, decision: Decision) -> None:
    same = (
        approval.approved == decision.approved
        and approval.has_result == decision.has_result
        and (not decision.has_result or approval.result == decision.result)
        and _decided_parameters(approval, decision) == approval.effective_parameters
    )
    if not same:
        raise Conflict("This approval was decided otherwise; the first decision stands.")


def _decided_parameters(approval: Wait, decision: Decision) -> dict[str, Any] | None:
    """The edited arguments, where they differ from what was proposed.

    A call that is run again runs as it was edited when it was first approved.
    """
    if decision.parameters is None and approval.kind is WaitKind.UNKNOWN_OUTCOME:
        return approval.effective_parameters
    return None if decision.parameters == approval.parameters else decision.parameters


def _decided(approval: Wait, request: DecideWait) -> Wait:
    decision = request.decision
    if decision.has_result and approval.kind is not WaitKind.UNKNOWN_OUTCOME:
        raise InvalidField("Only an unknown outcome is told by a result.", param="result")
    return replace(
        approval,
        decided_at=request.at,
        approved=decision.approved,
        reason=decision.reason,
        effective_parameters=_decided_parameters(approval, decision),
        result=decision.result if decision.has_result else None,
        has_result=decision.has_result,
        decided_by=request.key_id,
    )


def _decision_columns(decided: Wait, request: DecideWait) -> dict[str, Any]:
    parameters = decided.effective_parameters
    return {
        "id": request.execution_id,
        "tool_call": request.tool_call_id,
        "at": request.at,
        "new_approved": decided.approved,
        "new_reason": decided.reason,
        "new_parameters": None if parameters is None else to_json(parameters),
        "new_result": to_json(decided.result) if decided.has_result else None,
        "new_decided_by": decided.decided_by,
    }


def resolved(decided: Wait) -> ApprovalResolved:
    """The event of a decision."""
    return ApprovalResolved(
        decided.step,
        decided.tool_call_id,
        approved=bool(decided.approved),
        reason=decided.reason,
        parameters=decided.effective_parameters,
        approval_kind=decided.kind.value,
        decided_by=decided.decided_by,
    )


def _committed(execution: Execution, entries: tuple[Entry, ...]) -> Committed:
    return Committed(execution.id, entries, execution)


def _of(workspace_id: str, execution_id: str) -> Transaction[tuple[Wait, ...]]:
    """The newest question per call, in the order they were asked."""
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
    """What has expired, of all workspaces."""
    rows = yield Query(DUE_WAITS, {"now": now, "limit": limit})
    return TransactionResult(
        readable(rows, lambda row: (row[0], wait_from(row[1:])), lambda row: row[:2])
    )


class WaitStore:
    """The approvals of executions."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def decide(self, request: DecideWait) -> Wait:
        """Decide an approval, first decision wins; the last open one lets the execution go on.

        The same decision again returns the same. Raises ExecutionNotFound, ApprovalNotFound,
        Conflict (another decision stands, or the execution has ended).
        """
        return await self._driver.write(lambda: _decide(request))

    async def of(self, workspace_id: str, execution_id: str) -> tuple[Wait, ...]:
        """Return the newest per call, in the order of the requests, superseded ones too."""
        return await self._driver.read(lambda: _of(workspace_id, execution_id))

    async def of_each(
        self, workspace_id: str, execution_ids: Sequence[str]
    ) -> dict[str, tuple[Wait, ...]]:
        """Return the approvals of each, as `of` does, read in one moment."""
        return await self._driver.read(lambda: _of_each(workspace_id, execution_ids), snapshot=True)

    async def pending(self, workspace_id: str, page: PendingPage) -> list[Wait]:
        """Return open approvals of live executions, newest first; one more if there are more."""
        return await self._driver.read(lambda: _pending(workspace_id, page))

    async def due(self, now: int, limit: int) -> list[tuple[str, Wait] | Unreadable]:
        """Return (workspace id, approval) of all that have expired open, of all workspaces."""
        return await self._driver.read(lambda: _due(now, limit))
