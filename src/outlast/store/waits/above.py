"""Who or what an execution awaits, passed on to its parents, up to the root.

A child that waits for a person or a client makes its parents wait for the same, in one commit, and
the root's log has its approvals: a caller knows the root alone. Rows are locked upwards.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final, TypeAlias

from sqlalchemy import bindparam, update

from outlast.model.client_call import ClientCallAnswered, ClientCallRequested
from outlast.model.error import ExecutionNotFound
from outlast.model.event import ApprovalRequested, ApprovalResolved, Event, ToolFinished
from outlast.model.execution import TERMINAL, Execution, Status
from outlast.model.text import shortened
from outlast.model.unreadable import ExecutionUnreadable
from outlast.model.wait import Awaiting, Wait, WaitKind
from outlast.store.driver import Part, Query, Statement, Together
from outlast.store.executions.below import Live
from outlast.store.executions.locks import compare_and_set, locked
from outlast.store.executions.log import append
from outlast.store.executions.rows import execution_of
from outlast.store.executions.statements import EXECUTION, SET_AWAITING
from outlast.store.listeners import Committed
from outlast.store.tables import to_json
from outlast.store.waits.rows import (
    OPEN_BELOW,
    SOME_DECIDED,
    WAIT,
    WAITS,
    WHO_IS_AWAITED,
    wait_of,
    waits,
)

MAX_RESULT_BYTES: Final = 262_144
"""Maximum bytes of a result of a child's call in the log of its root; a longer one is cut."""
_WITHDRAWN: Final = "The execution has ended, or was rolled back."
_OfWait: TypeAlias = ApprovalRequested | ApprovalResolved | ClientCallRequested | ClientCallAnswered
"""What a child awaits of a person or the client, and the decisions."""
_OTHERS: Final = (Awaiting.PERSON, Awaiting.CLIENT)

SET_CHILD_AWAITS: Final = Statement(
    update(waits)
    .where(
        waits.c.execution_id == bindparam("id"),
        waits.c.tool_call_id == bindparam("tool_call"),
        waits.c.decided_at.is_(None),
    )
    .values(awaiting=bindparam("new_awaiting"))
    .returning(waits.c.tool_call_id)
)
"""Sets what the child of an open wait waits for; the row of the wait's execution is locked."""


def unless_decided(execution: Execution) -> Part[Execution]:
    """Return a suspended execution by its open waits; it is resumed if all are decided.

    The execution's row is locked; a wait may have been decided since the caller read them.
    """
    if execution.status is not Status.SUSPENDED:
        return execution
    of = {"id": execution.id}
    ((found,),) = yield Query(WHO_IS_AWAITED, of | {"workspace": execution.workspace_id})
    if found is None and not (yield Query(SOME_DECIDED, of)):
        return execution
    return (yield from awaiting_now(execution, found))


def awaiting_now(execution: Execution, found: str | None) -> Part[Execution]:
    """Return a suspended execution as it awaits this; None: nothing, and it is resumed."""
    if found is None:
        after = replace(execution, status=Status.QUEUED, awaiting=None)
        yield compare_and_set(execution, after, keep_pause=True)
        return after
    awaiting = Awaiting(found)
    if awaiting is execution.awaiting:
        return execution
    yield Query(
        SET_AWAITING,
        {"given_id": execution.id, "new_awaiting": found, "at": execution.updated_at},
    )
    return replace(execution, awaiting=awaiting)


def tell_above(before: Execution, after: Execution) -> Part[list[Committed]]:
    """Let the waits for a child name the person or client that it awaits, up to the root.

    `after`: a locked child, as it is now.
    """
    passed: list[Committed] = []
    while after.tool_call_id is not None and _others(before) is not _others(after):
        try:
            parent = yield from locked(after.workspace_id, after.parent_id or "")
        except (ExecutionNotFound, ExecutionUnreadable):
            break  # what cannot be read fails once a child of it ends
        awaiting = _others(after) or Awaiting.CHILD
        of = {"id": parent.id, "tool_call": after.tool_call_id}
        if not (yield Query(SET_CHILD_AWAITS, of | {"new_awaiting": awaiting.value})):
            break
        before, after = parent, (yield from unless_decided(parent))
        passed.append(Committed(after.id, (), after))
    return passed


def tell_root(child: Execution, events: Iterable[Event], at: int) -> Part[list[Committed]]:
    """Append a child's approvals and calls of the client to the log of its root, with their ends.

    There they have the step of the root's call, and the id of the child or of the one below it.
    """
    passed: list[ToolFinished | _OfWait] = []
    for event in events:
        if isinstance(event, _OfWait):
            passed.append(event)
        elif isinstance(event, ToolFinished) and (yield from _was_shown(child, event)):
            passed.append(replace(event, result=_short(event.result), credits=0))
    if not passed or child.root_id is None:
        return []
    step = yield from _step_of_root(child)
    if step is None:
        return []
    try:
        root = yield from locked(child.workspace_id, child.root_id)
    except (ExecutionNotFound, ExecutionUnreadable):
        return []
    if root.status in TERMINAL:
        return []
    copies = [
        replace(event, step=step, execution_id=event.execution_id or child.id) for event in passed
    ]
    return [Committed(root.id, (yield from append(root, max(at, root.updated_at), copies)))]


def _was_shown(child: Execution, event: ToolFinished) -> Part[bool]:
    """Whether the root's log has the call, because a person or the client has decided it."""
    of = {"workspace": child.workspace_id, "id": child.id, "tool_call": event.tool_call_id}
    waits = [wait_of(row) for row in (yield Query(WAIT, of))]
    return any(wait.is_approval or wait.is_client or wait.begun_at is not None for wait in waits)


def _short(result: Any) -> Any:
    """Return the result, or if its JSON is too long the beginning of that, as text."""
    text = to_json(result)
    return result if (cut := shortened(text, MAX_RESULT_BYTES)) == text else cut


def withdrawn(ended: Sequence[Live]) -> Part[list[ApprovalResolved | ClientCallAnswered]]:
    """Return, for the log of their root, the decisions on what these requested until they ended.

    It cannot be decided any more: whoever follows the root must not wait for it.
    """
    of_each = ({"id": one.id, "workspace": one.workspace_id} for one in ended)
    answers = yield Together(tuple(Query(WAITS, of) for of in of_each))
    return [
        _withdrawal(wait)
        for rows in answers
        for wait in map(wait_of, rows)
        if wait.is_open and (wait.is_approval or wait.is_client)
    ]


def _withdrawal(wait: Wait) -> ApprovalResolved | ClientCallAnswered:
    if wait.is_client:
        return ClientCallAnswered(
            wait.step,
            wait.tool_call_id,
            is_error=True,
            reason=_WITHDRAWN,
            execution_id=wait.execution_id,
        )
    return ApprovalResolved(
        wait.step,
        wait.tool_call_id,
        approved=False,
        reason=_WITHDRAWN,
        approval_kind=wait.kind.value,
        execution_id=wait.execution_id,
    )


def _step_of_root(child: Execution) -> Part[int | None]:
    """Return the step of the root's call that a child is below.

    None if a roll-back has superseded that call, or one between them.
    """
    one: Execution | None = child
    while one is not None and one.parent_id is not None:
        of = {"workspace": one.workspace_id, "id": one.parent_id, "tool_call": one.tool_call_id}
        rows = yield Query(WAIT, of)
        if not rows:
            return None
        if one.parent_id == child.root_id:
            return wait_of(rows[0]).step
        one = yield from _execution(one.workspace_id, one.parent_id)
    return None


def open_below(root: Execution) -> Part[list[ApprovalRequested | ClientCallRequested]]:
    """Return, for the log of a root, what those below it request from a person or the client."""
    if root.root_id is not None or not root.children:
        return []
    events: list[ApprovalRequested | ClientCallRequested] = []
    rows = yield Query(OPEN_BELOW, {"workspace": root.workspace_id, "id": root.id})
    for wait in map(wait_of, rows):
        child = yield from _execution(root.workspace_id, wait.execution_id)
        step = None if child is None else (yield from _step_of_root(child))
        if child is not None and step is not None:
            events.append(replace(requested(step, wait), execution_id=child.id))
    return events


def requested(step: int, wait: Wait) -> ApprovalRequested | ClientCallRequested:
    """Return the event of what a person is to decide, or the client to run."""
    if wait.is_client:
        return requested_of_client(replace(wait, step=step))
    shown = wait.parameters if wait.kind is WaitKind.APPROVAL else wait.arguments
    return ApprovalRequested(step, wait.tool_call_id, wait.name, shown, wait.kind.value)


def requested_of_client(wait: Wait) -> ClientCallRequested:
    """Return the event of a call that waits for the client, with the arguments to run it with."""
    shown = None if wait.request is None else wait.request.shown()
    arguments = wait.arguments
    return ClientCallRequested(wait.step, wait.tool_call_id, wait.name, arguments, input=shown)


def _execution(workspace_id: str, execution_id: str) -> Part[Execution | None]:
    for row in (yield Query(EXECUTION, {"workspace": workspace_id, "id": execution_id})):
        with suppress(ExecutionUnreadable):
            return execution_of(row)
    return None


def _others(execution: Execution) -> Awaiting | None:
    """Return the person or client that it awaits; None if neither."""
    return execution.awaiting if execution.awaiting in _OTHERS else None
