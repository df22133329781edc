"""Transactions on tasks: save a state, and process due tasks."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import orjson

from outlast.model.checkpoint import Checkpoint
from outlast.model.error import Conflict, ConversationBusy, ExecutionNotFound
from outlast.model.event import Event, ExecutionFailed, ExecutionPaused
from outlast.model.execution import TERMINAL, Execution, Failure, Status, at_rest
from outlast.model.task import AUTOMATIC, OUT_OF_TIME, PAUSED, Task, end_of_time
from outlast.store.checkpoints import known_checkpoints, save
from outlast.store.driver import Driver, Part, Query, Transaction, TransactionResult
from outlast.store.executions.advance import advance
from outlast.store.executions.locks import locked, locked_turn
from outlast.store.executions.statements import CHANGE_STATE
from outlast.store.executions.values import Advance, Resume
from outlast.store.resume import resume
from outlast.store.tables import to_json
from outlast.store.tasks.rows import DUE_TASKS, FORGET_TASK, keep, task_of


@dataclass(frozen=True, slots=True)
class SaveState:
    """A request to save a state; with a checkpoint's id, as a checkpoint."""

    workspace_id: str
    execution_id: str
    at: int
    state: dict[str, Any] | None = None
    """None: unchanged."""
    checkpoint_id: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class ProcessDueTask:
    """Arguments for processing one due task."""

    workspace_id: str
    execution_id: str
    at: int
    checkpoint_id: str


_BUSY_MILLIS = 1000
"""Delay before an attempt is retried that another turn of its conversation blocks."""


def _get(workspace_id: str, execution_id: str) -> Transaction[Task | None]:
    """Read a task's row."""
    return TransactionResult((yield from task_of(workspace_id, execution_id)))


def _due(now: int, limit: int) -> Transaction[list[tuple[str, str]]]:
    """Read which tasks are due, the longest due first."""
    rows = yield Query(DUE_TASKS, {"now": now, "limit": limit})
    return TransactionResult([(row[0], row[1]) for row in rows])


def save_state(request: SaveState) -> Transaction[None]:
    """Lock the execution; change its state, or add a checkpoint after its newest."""
    execution = yield from locked(request.workspace_id, request.execution_id)
    _require_open(execution, request)
    found = yield from task_of(request.workspace_id, execution.id)
    state = execution.state if request.state is None else request.state
    changed = state != execution.state or (found is not None and found.changed)
    saved = None
    if request.checkpoint_id is not None:
        saved = yield from _added(execution, request, request.checkpoint_id, state)
    yield Query(
        CHANGE_STATE, {"given_id": execution.id, "new_state": to_json(state), "at": request.at}
    )
    if found is None:
        return TransactionResult(None)
    if request.checkpoint_id is not None:
        found = replace(found, changed=False, saved_at=found.saved_at if saved is None else saved)
    else:
        found = replace(found, changed=changed)
    yield from keep(replace(found, due_at=found.due(execution)))
    return TransactionResult(None)


def _require_open(execution: Execution, request: SaveState) -> None:
    if execution.status in TERMINAL:
        raise Conflict(f"The task is {execution.status.value}; its state changes no more.")
    if execution.status is Status.PAUSED and request.checkpoint_id is None:
        raise Conflict("The task is paused: it goes on from a checkpoint, so save one instead.")


def _added(
    execution: Execution, request: SaveState, checkpoint_id: str, state: dict[str, Any]
) -> Part[int | None]:
    """Add a checkpoint and return when; None if the newest ones have the same state already."""
    known = yield from known_checkpoints(request.workspace_id, execution.id)
    stand = [checkpoint for checkpoint in known if not checkpoint.superseded]
    if any(c.label == request.label for c in _alike(reversed(stand), state)):
        return None
    yield from save(_behind(stand, execution.id, checkpoint_id, request.at, request.label, state))
    return request.at


def _alike(newest_first: Iterable[Checkpoint], state: dict[str, Any]) -> Iterable[Checkpoint]:
    """Return the newest checkpoints, as long as they have this state."""
    canonical = _canonical(state)
    for checkpoint in newest_first:
        if checkpoint.state is None or _canonical(checkpoint.state) != canonical:
            return
        yield checkpoint


def _canonical(state: dict[str, Any]) -> bytes:
    return orjson.dumps(state, option=orjson.OPT_SORT_KEYS)


def _behind(
    stand: list[Checkpoint],
    execution_id: str,
    checkpoint_id: str,
    at: int,
    label: str | None,
    state: dict[str, Any],
) -> Checkpoint:
    """Return a checkpoint at the step of the newest one not superseded."""
    newest = stand[-1] if stand else None
    return Checkpoint(
        checkpoint_id,
        execution_id,
        0 if newest is None else newest.step,
        at,
        label,
        state,
        missing=() if newest is None else newest.missing,
    )


def _process_due(request: ProcessDueTask) -> Transaction[None]:
    """Lock the task and process it, if it is still due."""
    try:
        execution = yield from locked_turn(request.workspace_id, request.execution_id)
    except ExecutionNotFound:
        yield Query(FORGET_TASK, {"id": request.execution_id, "workspace": request.workspace_id})
        return TransactionResult(None)
    found = yield from task_of(request.workspace_id, execution.id)
    if found is None or found.due_at is None or found.due_at > request.at:
        return TransactionResult(None)
    if execution.status is Status.FAILED:
        return (yield from _tried_again(execution, found, request))
    ends_at = end_of_time(execution)
    if execution.status is Status.RUNNING and ends_at is not None and ends_at <= request.at:
        return (yield from _out_of_time(execution, found, request))
    due_at = found.due(execution)
    if due_at is None or due_at > request.at:
        yield from keep(replace(found, due_at=due_at))
        return TransactionResult(None)
    automatic = SaveState(
        request.workspace_id,
        request.execution_id,
        request.at,
        checkpoint_id=request.checkpoint_id,
        label=AUTOMATIC,
    )
    return (yield from save_state(automatic))


def _tried_again(execution: Execution, found: Task, request: ProcessDueTask) -> Transaction[None]:
    """Begin the next attempt from the newest checkpoint."""
    again = Resume(request.workspace_id, execution.id, request.at, again=True)
    try:
        outcome = yield from resume(again)
    except ConversationBusy:
        yield from keep(replace(found, due_at=request.at + _BUSY_MILLIS))
        return TransactionResult(None)
    return TransactionResult(None, outcome.committed, outcome.runnable, cancelled=outcome.cancelled)


def _out_of_time(execution: Execution, found: Task, request: ProcessDueTask) -> Transaction[None]:
    """End or pause a client-driven task; a pause saves the state as a checkpoint."""
    message = f"The task's max_duration_seconds of {found.max_seconds:g} are over."
    failure = Failure("execution_error", OUT_OF_TIME, message)
    event: Event = ExecutionFailed(failure.type, failure.code, message)
    rested = at_rest(execution, Status.FAILED, request.at)
    checkpoint = None
    if found.pauses_in_the_end:
        event = ExecutionPaused(message)
        rested = at_rest(execution, Status.PAUSED, request.at)
        checkpoint = Checkpoint(request.checkpoint_id, execution.id, 0, request.at, PAUSED)
    else:
        rested = replace(rested, error=failure)
    move = Advance(execution, rested, ((request.at, event),), checkpoint=checkpoint)
    outcome = yield from advance(move)
    return TransactionResult(None, outcome.committed, outcome.runnable, cancelled=outcome.cancelled)


class TaskStore:
    """Tasks, stored beside their executions."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def get(self, workspace_id: str, execution_id: str) -> Task | None:
        """Return the task of an execution; None for an execution of another room."""
        return await self._driver.read(lambda: _get(workspace_id, execution_id))

    async def save_state(self, request: SaveState) -> None:
        """Save a state, with a checkpoint unless the newest ones have it under that label.

        Raises ExecutionNotFound, Conflict (it has ended; it is paused and no checkpoint is made).
        """
        await self._driver.write(lambda: save_state(request))

    async def due(self, now: int, limit: int) -> list[tuple[str, str]]:
        """Return (workspace id, execution id) of due tasks of all workspaces, longest due first."""
        return await self._driver.read(lambda: _due(now, limit))

    async def process_due(self, request: ProcessDueTask) -> None:
        """Process a task, if it is still due: save, end its time, or begin the next attempt."""
        await self._driver.write(lambda: _process_due(request))
