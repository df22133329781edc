"""The store's port, tasks: one suite for every implementation."""

from dataclasses import replace
from typing import Any

import anyio
import pytest

from outlast.model.checkpoint import Checkpoint
from outlast.model.error import CheckpointNotFound, Conflict, ExecutionNotFound, StaleWrite
from outlast.model.event import ExecutionFailed, ExecutionPaused
from outlast.model.execution import Budget, Execution, Failure, Status, at_rest
from outlast.model.ids import CHECKPOINT
from outlast.model.task import Task
from outlast.store.executions.values import ActiveTime, Advance, Resume
from outlast.store.store import Store
from outlast.store.tasks.store import ProcessDueTask, SaveState
from outlast.testing import FakeClock
from tests.support.store import OTHER, WORKSPACE, CommitLog, Create, new, run, started

pytestmark = pytest.mark.anyio
FAILURE = Failure("execution_error", "task_failed", "lost")


@pytest.fixture
def driven(store: Store, clock: FakeClock) -> Create:
    """Makes tasks that their client drives."""

    async def made(**config: Any) -> Execution:
        request = new(clock, agent_version=0)
        seconds = config.get("max_duration_seconds")
        task = Task(
            request.id, WORKSPACE, "Import", request.at, config=config, first_state={"page": 0}
        )
        request = replace(request, task=task, budget=Budget(max_seconds=seconds))
        return (await store.executions.create(request)).execution

    return made


def saved(execution: Execution, clock: FakeClock, **more: Any) -> SaveState:
    clock.advance(0.001)
    given = {"checkpoint_id": clock.new_id(CHECKPOINT), "label": "mine"} | more
    return SaveState(WORKSPACE, execution.id, clock.now(), **given)


def attend(execution: Execution, clock: FakeClock) -> ProcessDueTask:
    clock.advance(0.001)
    return ProcessDueTask(WORKSPACE, execution.id, clock.now(), clock.new_id(CHECKPOINT))


def failed(execution: Execution, at: int) -> Advance:
    after = replace(at_rest(execution, Status.FAILED, at), error=FAILURE)
    event = ExecutionFailed(FAILURE.type, FAILURE.code, FAILURE.message)
    return Advance(execution, after, ((at, event),))


async def test_a_task_is_kept_as_it_was_made_for_its_workspace_alone(
    store: Store, driven: Create, create: Create
) -> None:
    execution = await driven(theirs=[1])
    task = await store.tasks.get(WORKSPACE, execution.id)
    assert task is not None
    assert (task.name, task.config, task.first_state) == ("Import", {"theirs": [1]}, {"page": 0})
    assert await store.tasks.get(OTHER, execution.id) is None
    assert await store.tasks.get(WORKSPACE, (await create()).id) is None


async def test_what_its_client_drives_runs_at_once_and_is_no_workers(
    store: Store, driven: Create, commit_log: CommitLog
) -> None:
    execution = await driven()
    found = await store.executions.get(WORKSPACE, execution.id)
    assert found == execution
    assert (found.status, found.segment, found.state) == (Status.RUNNING, 1, {"page": 0})
    assert found.active_since == found.started_at == found.created_at
    assert not commit_log.runnable
    assert await store.executions.unfinished("", 10) == []


async def test_many_saves_of_the_same_make_one_checkpoint(
    store: Store, driven: Create, clock: FakeClock
) -> None:
    execution = await driven()
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(store.tasks.save_state, saved(execution, clock, state={"page": 1}))
    (point,) = await store.checkpoints.of(WORKSPACE, execution.id)
    assert (point.label, point.state, point.step) == ("mine", {"page": 1}, 0)
    assert (await store.executions.get(WORKSPACE, execution.id)).state == {"page": 1}


async def test_a_state_is_saved_on_what_is_open_only(
    store: Store, driven: Create, clock: FakeClock
) -> None:
    execution = await driven()
    with pytest.raises(ExecutionNotFound):
        await store.tasks.save_state(replace(saved(execution, clock), workspace_id=OTHER))
    await store.executions.advance(failed(execution, clock.now()))
    with pytest.raises(Conflict):
        await store.tasks.save_state(saved(execution, clock))
    assert await store.checkpoints.of(WORKSPACE, execution.id) == ()


async def test_a_checkpoint_of_another_task_disturbs_no_segment(
    store: Store, create: Create, clock: FakeClock
) -> None:
    running = await run(store, await create())
    await store.tasks.save_state(saved(running, clock, state={"page": 1}))
    after = replace(running, steps=1)
    point = Checkpoint(clock.new_id(CHECKPOINT), running.id, 1, clock.now())
    await store.executions.advance(Advance(running, after, checkpoint=point))
    found = await store.executions.get(WORKSPACE, running.id)
    assert (found.state, found.steps) == ({"page": 1}, 1)
    assert [c.state for c in await store.checkpoints.of(WORKSPACE, running.id)] == [
        {"page": 1},
        None,
    ]


async def test_a_pause_keeps_the_state_as_it_is_in_the_row(
    store: Store, driven: Create, clock: FakeClock
) -> None:
    execution = await driven()
    await store.tasks.save_state(saved(execution, clock, state={"page": 7}, checkpoint_id=None))
    at = clock.now()
    point = Checkpoint(clock.new_id(CHECKPOINT), execution.id, 0, at)
    move = Advance(
        execution,
        at_rest(execution, Status.PAUSED, at),
        ((at, ExecutionPaused()),),
        checkpoint=point,
    )
    await store.executions.advance(move)
    assert [c.state for c in await store.checkpoints.of(WORKSPACE, execution.id)] == [{"page": 7}]
    with pytest.raises(StaleWrite):
        await store.executions.advance(move)


async def test_a_resume_begins_a_segment_that_earlier_calls_cannot_end(
    store: Store, driven: Create, clock: FakeClock, commit_log: CommitLog
) -> None:
    execution = await driven()
    for page in (1, 2):
        await store.tasks.save_state(saved(execution, clock, state={"page": page}))
    await store.executions.advance(failed(execution, clock.now()))
    first, second = await store.checkpoints.of(WORKSPACE, execution.id)
    clock.advance(60)
    request = Resume(WORKSPACE, execution.id, clock.now(), first.id)
    with pytest.raises(CheckpointNotFound):
        await store.executions.resume(replace(request, checkpoint_id="cp_x"))
    with pytest.raises(Conflict):
        await store.executions.resume(replace(request, only=frozenset({Status.PAUSED})))
    resumed = (await store.executions.resume(request)).execution
    assert (resumed.status, resumed.segment, resumed.state) == (Status.RUNNING, 2, {"page": 1})
    assert resumed == await store.executions.get(WORKSPACE, execution.id)
    assert resumed.active_by(clock.now() + 500) == execution.active_ms + 500 + 2
    points = await store.checkpoints.of(WORKSPACE, execution.id)
    assert [(c.id, c.superseded) for c in points] == [(first.id, False), (second.id, True)]
    assert not commit_log.runnable
    with pytest.raises(StaleWrite):
        await store.executions.advance(failed(execution, clock.now()))


async def test_a_failure_with_attempts_left_is_due_behind_the_backoff_once(
    store: Store, driven: Create, clock: FakeClock
) -> None:
    execution = await driven(retry={"max_attempts": 2, "backoff_seconds": 5})
    at = clock.now()
    await store.executions.advance(failed(execution, at))
    assert await store.tasks.due(at + 4_999, 10) == []
    assert await store.tasks.due(at + 5_000, 10) == [(WORKSPACE, execution.id)]
    await store.tasks.process_due(attend(execution, clock))
    assert (await store.executions.get(WORKSPACE, execution.id)).status is Status.FAILED
    clock.advance(5)
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(store.tasks.process_due, attend(execution, clock))
    again = await store.executions.get(WORKSPACE, execution.id)
    assert (again.status, again.segment, again.state) == (Status.RUNNING, 2, {"page": 0})
    await store.executions.advance(failed(again, clock.now()))
    assert await store.tasks.due(2**60, 10) == []


async def test_a_failed_run_of_an_agent_is_queued_again(
    store: Store, clock: FakeClock, commit_log: CommitLog
) -> None:
    request = new(clock)
    config = {"retry": {"max_attempts": 2}}
    task = Task(request.id, WORKSPACE, "Report", request.at, config=config)
    running = await run(
        store, (await store.executions.create(replace(request, task=task))).execution
    )
    commit_log.runnable.clear()
    await store.executions.advance(failed(running, clock.now()))
    await store.tasks.process_due(attend(running, clock))
    assert [found.id for found in commit_log.runnable] == [running.id]
    assert commit_log.runnable[0].status is Status.QUEUED


async def test_what_runs_is_counted_forwards_and_only_for_its_segment(
    store: Store, create: Create
) -> None:
    running = await run(store, await create())
    await store.executions.heartbeat([ActiveTime(running, 700, 800)])
    await store.executions.heartbeat([ActiveTime(running, 600, 900)])
    await store.executions.heartbeat([ActiveTime(replace(running, segment=9), 5000, 900)])
    found = await store.executions.get(WORKSPACE, running.id)
    assert (found.active_ms, found.active_since) == (700, 800)
    assert found.active_by(1000) == 900
    assert found.active_by(100_000) == 3700
    await store.executions.advance(started(found, 2000))
    await store.executions.heartbeat([ActiveTime(running, 9000, 2100)])
    assert (await store.executions.get(WORKSPACE, running.id)).active_ms == 700


async def test_a_deleted_execution_takes_its_task_along(
    store: Store, driven: Create, clock: FakeClock
) -> None:
    execution = await driven(checkpoint_interval_seconds=1)
    await store.tasks.save_state(saved(execution, clock, state={"page": 1}, checkpoint_id=None))
    await store.executions.delete(WORKSPACE, execution.id)
    assert await store.tasks.get(WORKSPACE, execution.id) is None
    assert await store.tasks.due(2**60, 10) == []
    await store.tasks.process_due(attend(execution, clock))
