"""Tasks: executions with a state and checkpoints, driven by their client or by this server."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final

import orjson

from outlast.model.checkpoint import Checkpoint
from outlast.model.clock import Clock
from outlast.model.error import AgentNotFound, Conflict, StaleWrite
from outlast.model.event import ExecutionCompleted, ExecutionFailed, ExecutionPaused
from outlast.model.execution import (
    CLIENT_DRIVEN,
    Budget,
    Execution,
    Failure,
    Status,
    at_rest,
)
from outlast.model.ids import CHECKPOINT, CONVERSATION, EXECUTION, parse
from outlast.model.task import PAUSED, Task, client_agent
from outlast.model.workspace import Principal, Scope
from outlast.services.agents import Agents
from outlast.services.executions import Executions, StartExecution
from outlast.store.executions.values import Advance, Created, NewExecution
from outlast.store.idempotency import Idempotency
from outlast.store.store import Store
from outlast.store.tasks.store import ProcessDueTask, SaveState

__all__ = ["CreatedTask", "NewTask", "TaskView", "Tasks"]

_ATTEMPTS: Final = 5
TASK_FAILED: Final = "task_failed"
"""The code of a failure that a client reported."""
_RESUMABLE: Final = frozenset({Status.PAUSED, Status.FAILED, Status.SUSPENDED})
"""Statuses that `resume` takes; a suspended task is refused with its own message."""


@dataclass(frozen=True, slots=True)
class NewTask:
    """A request to create a task."""

    name: str
    description: str = ""
    task_type: str = ""
    agent: str | None = None
    """Id or name."""
    input: str | None = None
    """Together with an agent: the server runs it."""
    state: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task with its execution and checkpoints, oldest first."""

    execution: Execution
    task: Task
    checkpoints: tuple[Checkpoint, ...]
    now: int
    """Time up to which its active time counts."""


@dataclass(frozen=True, slots=True)
class CreatedTask:
    """Result of creating a task."""

    view: TaskView
    replayed: bool = False
    """The idempotency key was known; the task is that of the first request."""
    answer: str | None = None
    """The first request's response, if it was stored."""


class Tasks:
    """The tasks of a workspace; every execution is one."""

    def __init__(self, store: Store, executions: Executions, agents: Agents, clock: Clock) -> None:
        self._store = store
        self._executions = executions
        self._agents = agents
        self._clock = clock

    async def create(self, principal: Principal, request: NewTask) -> CreatedTask:
        """Record a task; with an agent and an input this server runs it, else its client drives it.

        Raises AgentNotFound, AgentPaused, IdempotencyMismatch, MissingScope.
        """
        principal.require(Scope.AGENTS_EXECUTE)
        made = partial(_task, principal.workspace_id, request)
        budget = Budget(max_seconds=request.config.get("max_duration_seconds"))
        if request.agent is not None and request.input is not None:
            start = StartExecution(
                request.input, budget=budget, idempotency=request.idempotency, task=made
            )
            started = await self._executions.start(principal, request.agent, start)
            return await self._created(
                Created(started.execution, started.replayed, started.answer), made
            )
        agent = client_agent(principal.workspace_id)
        if request.agent is not None:
            agent = await self._agents.chosen(principal, request.agent)
        execution_id, now = self._clock.new_id(EXECUTION), self._clock.now()
        new = NewExecution(
            id=execution_id,
            workspace_id=principal.workspace_id,
            agent_id=agent.id,
            agent_version=CLIENT_DRIVEN,
            conversation_id=self._clock.new_id(CONVERSATION),
            new_conversation=True,
            input=request.input or request.description or request.name,
            at=now,
            key_id=principal.key_id,
            budget=budget,
            idempotency=request.idempotency,
            task=made(execution_id, now),
            agent_name=agent.spec.name,
        )
        return await self._created(await self._store.executions.create(new), made)

    async def _created(self, created: Created, made: Callable[[str, int], Task]) -> CreatedTask:
        """Return a new task as it was recorded, regardless of changes since."""
        execution = created.execution
        if created.replayed:
            return CreatedTask(await self._view(execution), True, created.answer)
        at = execution.created_at
        return CreatedTask(TaskView(execution, made(execution.id, at), (), at))

    async def get(self, principal: Principal, execution_id: str) -> TaskView:
        """Return one task. Raises ExecutionNotFound, MissingScope."""
        principal.require(Scope.EXECUTIONS_READ)
        return await self._read(principal, execution_id)

    async def save(
        self,
        principal: Principal,
        execution_id: str,
        label: str | None,
        state: dict[str, Any] | None,
    ) -> TaskView:
        """Save a checkpoint with the state, given or current; an equal one is not saved twice.

        Raises ExecutionNotFound, Conflict (it has ended), MissingScope.
        """
        checkpoint_id = self._clock.new_id(CHECKPOINT)
        return await self._keep(principal, execution_id, state, checkpoint_id, label)

    async def change(
        self, principal: Principal, execution_id: str, state: dict[str, Any]
    ) -> TaskView:
        """Change the state without a checkpoint. Raises like `save`, and Conflict if paused."""
        return await self._keep(principal, execution_id, state)

    async def _keep(
        self,
        principal: Principal,
        execution_id: str,
        state: dict[str, Any] | None,
        checkpoint_id: str | None = None,
        label: str | None = None,
    ) -> TaskView:
        principal.require(Scope.AGENTS_EXECUTE)
        found, now = parse(EXECUTION, execution_id), self._clock.now()
        request = SaveState(principal.workspace_id, found, now, state, checkpoint_id, label)
        await self._store.tasks.save_state(request)
        return await self._read(principal, found)

    async def pause(
        self, principal: Principal, execution_id: str, *, now: bool, reason: str | None
    ) -> TaskView:
        """Pause, with a checkpoint; see Executions.pause. Server-driven: after the open step."""
        paused = await self._executions.pause(principal, execution_id, now=now, reason=reason)
        execution = paused.execution
        if execution.status is Status.PAUSED and not execution.is_client_driven:
            await self._save_if_changed(execution)
        return await self._read(principal, execution.id)

    async def _save_if_changed(self, execution: Execution) -> None:
        """Save a state that was changed after the newest step, or before the first."""
        task = await self._store.tasks.get(execution.workspace_id, execution.id)
        known = await self._store.checkpoints.of(execution.workspace_id, execution.id)
        if known and (task is None or not task.changed):
            return
        request = SaveState(
            execution.workspace_id,
            execution.id,
            self._clock.now(),
            checkpoint_id=self._clock.new_id(CHECKPOINT),
            label=PAUSED,
        )
        with suppress(Conflict):  # it was resumed meanwhile, and has ended
            await self._store.tasks.save_state(request)

    async def resume(
        self, principal: Principal, execution_id: str, checkpoint_id: str | None
    ) -> TaskView:
        """Continue from the newest or the named checkpoint, whose state becomes the state.

        Return the task as it was then, without what it has recorded since. Raises Conflict (not
        paused or failed; the checkpoint is superseded), CheckpointNotFound, ExecutionNotFound,
        MissingScope.
        """
        resumed = await self._executions.resume(
            principal, execution_id, checkpoint_id, only=_RESUMABLE
        )
        view = await self._view(resumed.execution)
        last = max(resumed.execution.superseded_to, *(one.number for one in resumed.steps), 0)
        known = tuple(one for one in view.checkpoints if one.step <= last)
        return replace(view, checkpoints=known)

    async def complete(
        self, principal: Principal, execution_id: str, state: dict[str, Any] | None, result: Any
    ) -> TaskView:
        """Complete a client-driven task; a result that is not text is stored as JSON.

        Raises Conflict (not running; server-driven), ExecutionNotFound, MissingScope.
        """
        output = result if isinstance(result, str | None) else orjson.dumps(result).decode()

        def completed(execution: Execution, _task: Task, at: int) -> Advance:
            after = replace(at_rest(execution, Status.COMPLETED, at), output=output)
            return Advance(execution, after, ((at, ExecutionCompleted(output)),), state=state)

        await self._end(principal, execution_id, completed)
        return await self._read(principal, execution_id)

    async def fail(
        self, principal: Principal, execution_id: str, error: str, state: dict[str, Any] | None
    ) -> TaskView:
        """Record that an attempt of a client-driven task failed.

        With attempts left it continues from its newest checkpoint after the backoff; without, it
        stays failed, or is paused if so configured. Raises like `complete`.
        """
        failure = Failure("execution_error", TASK_FAILED, error)

        def failed(execution: Execution, task: Task, at: int) -> Advance:
            return replace(_failed(execution, task, failure, at), state=state)

        execution, task = await self._end(principal, execution_id, failed)
        if task.is_tried_again(failure.code) and not task.backoff_ms:
            checkpoint_id, now = self._clock.new_id(CHECKPOINT), self._clock.now()
            await self._store.tasks.process_due(
                ProcessDueTask(execution.workspace_id, execution.id, now, checkpoint_id)
            )
        return await self._read(principal, execution.id)

    async def _end(
        self, principal: Principal, execution_id: str, move_of: Callable[..., Advance]
    ) -> tuple[Execution, Task]:
        """Apply a transition to a client-driven task; `move_of` makes it of the time, too."""
        principal.require(Scope.AGENTS_EXECUTE)
        for _ in range(_ATTEMPTS):
            execution = await self._execution(principal, execution_id)
            task = await self._store.tasks.get(execution.workspace_id, execution.id)
            _require_driven(execution)
            assert task is not None
            try:
                await self._store.executions.advance(move_of(execution, task, self._clock.now()))
            except StaleWrite:
                continue
            return execution, task
        raise StaleWrite

    async def delete(self, principal: Principal, execution_id: str) -> None:
        """Terminate the execution, then delete it for good; NotFound afterwards."""
        await self._executions.delete(principal, execution_id)

    # --- reads

    async def _execution(self, principal: Principal, execution_id: str) -> Execution:
        return await self._store.executions.get(
            principal.workspace_id, parse(EXECUTION, execution_id)
        )

    async def _read(self, principal: Principal, execution_id: str) -> TaskView:
        return await self._view(await self._execution(principal, execution_id))

    async def _view(self, execution: Execution) -> TaskView:
        task = await self._store.tasks.get(execution.workspace_id, execution.id)
        if task is None:
            task = await self._described(execution)
        known = await self._store.checkpoints.shown(execution)
        return TaskView(execution, task, known, self._clock.now())

    async def _described(self, execution: Execution) -> Task:
        """Return an execution of another room as a task, named after its agent."""
        name, description = execution.agent_id, ""
        try:
            agent = await self._agents.version(
                execution.workspace_id, execution.agent_id, execution.agent_version
            )
        except AgentNotFound:
            pass
        else:
            name, description = agent.spec.name, agent.spec.description
        return Task(
            execution.id, execution.workspace_id, name, execution.created_at, description, "agent"
        )


def _task(workspace_id: str, request: NewTask, execution_id: str, at: int) -> Task:
    return Task(
        execution_id,
        workspace_id,
        request.name,
        at,
        request.description,
        request.task_type,
        request.config,
        request.state,
    )


def _require_driven(execution: Execution) -> None:
    if not execution.is_client_driven:
        raise Conflict("The server drives this task; its client cannot end it so.")
    if execution.status is not Status.RUNNING:
        raise Conflict(f"The task is {execution.status.value}; only one that runs ends.")


def _failed(execution: Execution, task: Task, failure: Failure, at: int) -> Advance:
    if task.pauses(failure.code):
        paused = at_rest(execution, Status.PAUSED, at)
        return Advance(execution, paused, ((at, ExecutionPaused(failure.message)),))
    failed = replace(at_rest(execution, Status.FAILED, at), error=failure)
    event = ExecutionFailed(failure.type, failure.code, failure.message)
    return Advance(execution, failed, ((at, event),))
