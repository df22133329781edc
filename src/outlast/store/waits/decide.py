"""Parts of transactions on waits: record them, decide one, resume the execution."""

from dataclasses import dataclass, replace
from typing import Any

from outlast.model.client_call import ClientCallAnswered, ClientCallNotFound
from outlast.model.error import ApprovalNotFound, Conflict, InvalidField
from outlast.model.event import ApprovalResolved, Entry
from outlast.model.execution import TERMINAL, Execution, Status
from outlast.model.wait import CallResult, Decision, Wait, WaitKind, overdue
from outlast.store.driver import Part, Query
from outlast.store.executions.locks import locked
from outlast.store.executions.log import append
from outlast.store.executions.values import Advance
from outlast.store.listeners import Committed
from outlast.store.tables import to_json
from outlast.store.waits.above import tell_above, tell_root, unless_decided
from outlast.store.waits.rows import (
    BEGIN_APPROVED,
    DECIDE_WAIT,
    RECORD_WAIT,
    WAIT,
    wait_columns,
    wait_of,
)


@dataclass(frozen=True, slots=True)
class DecideWait:
    """A decision on one wait."""

    workspace_id: str
    execution_id: str
    tool_call_id: str
    at: int
    decision: Decision | CallResult | None
    """For an approval a Decision, for another wait a CallResult; None: it is due, and its automatic
    decision applies."""
    key_id: str | None = None
    """Id of the key of the person or the client; None if neither decides."""


@dataclass(frozen=True, slots=True)
class Decided:
    """Effects of a decision, for the transaction that it is part of."""

    wait: Wait
    execution: Execution
    """As this leaves it."""
    committed: tuple[Committed, ...] = ()
    runnable: tuple[Execution, ...] = ()


def record_waits(move: Advance) -> Part[None]:
    """Record the waits of a move, each replacing the call's earlier one, and begun calls."""
    execution = move.after
    for wait in move.waits:
        yield Query(RECORD_WAIT, wait_columns(execution.workspace_id, wait))
    for call in move.begun:
        yield Query(
            BEGIN_APPROVED, {"id": execution.id, "tool_call": call, "at": execution.updated_at}
        )


def decide(request: DecideWait) -> Part[Decided]:
    """Lock the execution and decide the wait once; the last open one resumes the execution.

    Raises ExecutionNotFound, NotFound, Conflict.
    """
    execution = yield from locked(request.workspace_id, request.execution_id)
    wait = yield from _wait(request)
    decision = request.decision
    if wait.decided_at is not None:
        if decision is not None:
            _require_same(wait, decision)
        return Decided(wait, execution)
    if decision is None:
        if wait.due_at is None or wait.due_at > request.at:
            return Decided(wait, execution)  # it waits anew since it was due
        decision = overdue(wait)
    if execution.status in TERMINAL:
        raise Conflict(f"The execution is {execution.status.value}; nothing is to be decided.")
    decided = _decided(wait, decision, request)
    rows = yield Query(DECIDE_WAIT, _decision_columns(decided, request))
    assert rows
    entries: tuple[Entry, ...] = ()
    if decided.is_approval:
        entries = yield from append(execution, request.at, (resolved(decided),))
    elif decided.is_client:
        entries = yield from append(execution, request.at, (answered(decided),))
    after = replace(execution, updated_at=max(request.at, execution.updated_at))
    runnable: tuple[Execution, ...] = ()
    if execution.status is Status.SUSPENDED:
        after = yield from unless_decided(after)
        runnable = (after,) if after.status is Status.QUEUED else ()
    committed = [Committed(after.id, entries, after)]
    if after.parent_id is not None:
        committed += yield from tell_above(execution, after)
        committed += yield from tell_root(after, [entry.event for entry in entries], request.at)
    return Decided(decided, after, tuple(committed), runnable)


def _wait(request: DecideWait) -> Part[Wait]:
    """Return the wait of this decision."""
    of = {"workspace": request.workspace_id, "id": request.execution_id}
    rows = yield Query(WAIT, of | {"tool_call": request.tool_call_id})
    for wait in map(wait_of, rows):
        match request.decision:
            case None:
                return wait
            case Decision() if wait.is_approval:
                return wait
            case CallResult() if not wait.is_approval:
                return wait
            case Decision() | CallResult():
                pass
    if isinstance(request.decision, Decision):
        raise ApprovalNotFound
    raise ClientCallNotFound


def _require_same(wait: Wait, decision: Decision | CallResult) -> None:
    if isinstance(decision, CallResult):
        same = (wait.is_error, wait.result) == (decision.is_error, decision.result)
    else:
        same = (
            wait.approved == decision.approved
            and wait.has_result == decision.has_result
            and (not decision.has_result or wait.result == decision.result)
            and _decided_parameters(wait, decision) == wait.effective_parameters
        )
    if same:
        return
    if not wait.is_client:
        kind = "approval" if wait.is_approval else "call"
        raise Conflict(f"This {kind} was decided otherwise; the first decision stands.")
    if wait.decided_by is None:
        raise Conflict("The time for this call's result is over; the model has read so.")
    raise Conflict("This call has another result already; the first one stands.")


def _decided_parameters(wait: Wait, decision: Decision) -> dict[str, Any] | None:
    """Return the edited arguments, if they differ from the proposed ones.

    A call that is run again keeps the arguments edited at its first approval.
    """
    if decision.parameters is None and wait.kind is WaitKind.UNKNOWN_OUTCOME:
        return wait.effective_parameters
    return None if decision.parameters == wait.parameters else decision.parameters


def _decided(wait: Wait, decision: Decision | CallResult, request: DecideWait) -> Wait:
    decided = replace(wait, decided_at=request.at, decided_by=request.key_id)
    match decision:
        case CallResult(result, is_error):
            return replace(decided, approved=not is_error, result=result, has_result=True)
        case Decision():
            if decision.has_result and wait.kind is not WaitKind.UNKNOWN_OUTCOME:
                raise InvalidField("Only an unknown outcome takes a result.", param="result")
            return replace(
                decided,
                approved=decision.approved,
                reason=decision.reason,
                effective_parameters=_decided_parameters(wait, decision),
                result=decision.result if decision.has_result else None,
                has_result=decision.has_result,
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
    """Return the event of a decision on an approval."""
    return ApprovalResolved(
        decided.step,
        decided.tool_call_id,
        approved=bool(decided.approved),
        reason=decided.reason,
        parameters=decided.effective_parameters,
        approval_kind=decided.kind.value,
        decided_by=decided.decided_by,
    )


def answered(decided: Wait) -> ClientCallAnswered:
    """Return the event of a client's result, or of its time that is over."""
    return ClientCallAnswered(
        decided.step, decided.tool_call_id, decided.is_error, decided.decided_by
    )
