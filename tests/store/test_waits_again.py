"""The store's port, waits through pauses, resumes and roll-backs, of every kind."""

from dataclasses import replace

import pytest

from outlast.model.checkpoint import Checkpoint
from outlast.model.error import (
    NotFound,
)
from outlast.model.event import START, ExecutionCancelled, ExecutionSuspended, ToolStarted
from outlast.model.execution import (
    Execution,
    ModelStep,
    Status,
    ToolStep,
    at_rest,
)
from outlast.model.message import AssistantMessage, ToolCall
from outlast.model.usage import Usage
from outlast.model.wait import AWAITED, Awaiting, CallResult, Wait, WaitKind
from outlast.store.executions.values import Advance, Resume
from outlast.store.store import Store
from tests.support.store import WORKSPACE, run
from tests.support.waits import (
    DUE,
    RESULTS,
    Suspend,
    decide,
    decision_of,
    paused,
    wait,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", WaitKind)
async def test_a_pause_that_ends_waits_on_for_the_same_party(
    store: Store, suspend: Suspend, kind: WaitKind
) -> None:
    execution = await paused(store, await suspend(wait(kind)))
    resumed = (await store.executions.resume(Resume(WORKSPACE, execution.id, 30))).execution
    assert (resumed.status, resumed.awaiting) == (Status.SUSPENDED, AWAITED[kind])
    assert await store.executions.get(WORKSPACE, execution.id) == resumed
    log = await store.executions.log(WORKSPACE, execution.id, START, 99)
    assert log[-1].event == ExecutionSuspended(AWAITED[kind])
    shown = [entry.event for entry in log if isinstance(entry.event, ToolStarted)]
    assert bool(shown) == (AWAITED[kind] is not Awaiting.PERSON)
    await store.waits.decide(decide(execution, decision_of(kind)))
    assert (await store.executions.get(WORKSPACE, execution.id)).status is Status.QUEUED


@pytest.mark.parametrize("kind", RESULTS)
async def test_a_result_that_came_in_a_pause_is_there_when_it_ends(
    store: Store, suspend: Suspend, kind: WaitKind
) -> None:
    execution = await paused(store, await suspend(wait(kind)))
    await store.waits.decide(decide(execution, CallResult("meanwhile")))
    assert (await store.executions.get(WORKSPACE, execution.id)).status is Status.PAUSED
    resumed = (await store.executions.resume(Resume(WORKSPACE, execution.id, 30))).execution
    assert (resumed.status, resumed.awaiting) == (Status.QUEUED, None)


async def rolled_back(store: Store, suspend: Suspend, made: Wait) -> tuple[Execution, Wait]:
    """Back behind the answer, when the call had its result; the execution and its wait then."""
    execution = await suspend(made)
    await store.waits.decide(decide(execution, CallResult("gave")))
    queued = await store.executions.get(WORKSPACE, execution.id)
    running = await run(store, queued)
    call = ToolCall("tc_1", "ask", {"a": 1})
    step = ToolStep("step_2", 2, call, "gave", is_error=False, started_at=7, ended_at=9)
    recorded = replace(running, steps=2)
    await store.executions.advance(Advance(running, recorded, steps=(step,)))
    ended = at_rest(recorded, Status.CANCELLED, 40)
    await store.executions.advance(Advance(recorded, ended, ((40, ExecutionCancelled()),)))
    request = Resume(WORKSPACE, execution.id, 1000, "cp_001")
    resumed = (await store.executions.resume(request)).execution
    (found,) = await store.waits.of(WORKSPACE, execution.id)
    return resumed, found


@pytest.mark.parametrize("kind", [WaitKind.CLIENT, WaitKind.INPUT])
async def test_a_roll_back_asks_a_client_for_its_result_again(
    store: Store, suspend: Suspend, kind: WaitKind
) -> None:
    made = replace(wait(kind), due_at=DUE, reason="As agreed.")
    resumed, again = await rolled_back(store, suspend, made)
    assert (resumed.status, resumed.awaiting) == (Status.SUSPENDED, Awaiting.CLIENT)
    due = 1000 + DUE - made.requested_at
    expected = replace(made, execution_id=resumed.id, step=3, requested_at=1000, due_at=due)
    assert again == expected


@pytest.mark.parametrize("kind", [WaitKind.CHILD, WaitKind.TIMER])
async def test_a_roll_back_keeps_what_a_child_gave_and_a_time_that_has_come(
    store: Store, suspend: Suspend, kind: WaitKind
) -> None:
    resumed, found = await rolled_back(store, suspend, wait(kind))
    assert (resumed.status, resumed.awaiting) == (Status.QUEUED, None)
    assert (found.is_open, found.result) == (False, "gave")


async def test_a_roll_back_asks_the_person_first_who_approved_what_a_client_ran(
    store: Store, suspend: Suspend
) -> None:
    approved = replace(wait(WaitKind.CLIENT), begun_at=7, effective_parameters={"a": 9})
    resumed, again = await rolled_back(store, suspend, approved)
    assert (resumed.status, resumed.awaiting) == (Status.SUSPENDED, Awaiting.PERSON)
    assert (again.kind, again.is_open, again.begun_at) == (WaitKind.APPROVAL, True, None)
    assert again.arguments == {"a": 1}


async def test_a_cancelled_wait_that_is_resumed_has_all_its_time_again(
    store: Store, suspend: Suspend
) -> None:
    execution = await suspend(wait(WaitKind.TIMER))
    ended = at_rest(execution, Status.CANCELLED, 40)
    await store.executions.advance(Advance(execution, ended, ((40, ExecutionCancelled()),)))
    resumed = (await store.executions.resume(Resume(WORKSPACE, execution.id, 1000))).execution
    assert (resumed.status, resumed.awaiting) == (Status.SUSPENDED, Awaiting.TIME)
    assert await store.waits.due(999 + DUE - 7, 9) == []
    assert len(await store.waits.due(1000 + DUE - 7, 9)) == 1


async def test_a_wait_whose_call_is_rolled_back_is_void(store: Store, suspend: Suspend) -> None:
    execution = await suspend(wait(WaitKind.CLIENT))
    running = await run(store, await _queued(store, execution))
    step = ModelStep("step_3", 3, AssistantMessage(()), "m", Usage(1, 1), "stop", 9, 9)
    after = replace(running, steps=2, usage=Usage(11, 6))
    await store.executions.advance(
        Advance(running, after, steps=(step,), checkpoint=Checkpoint("cp_003", running.id, 3, 9))
    )
    more = ToolCall("tc_2", "ask", {})
    last = ModelStep("step_4", 4, AssistantMessage((more,)), "m", Usage(1, 1), "stop", 9, 9)
    opened = wait(WaitKind.CLIENT, "tc_2", running.id, step=5)
    suspended = replace(
        after, status=Status.SUSPENDED, awaiting=Awaiting.CLIENT, steps=3, usage=Usage(12, 7)
    )
    await store.executions.advance(Advance(after, suspended, steps=(last,), waits=(opened,)))
    row = await paused(store, await store.executions.get(WORKSPACE, execution.id))
    await store.executions.resume(Resume(WORKSPACE, row.id, 1000, "cp_003"))
    found = {one.tool_call_id: one for one in await store.waits.of(WORKSPACE, row.id)}
    assert found["tc_2"].superseded
    with pytest.raises(NotFound):
        await store.waits.decide(decide(row, CallResult("late"), call="tc_2"))


async def _queued(store: Store, execution: Execution) -> Execution:
    await store.waits.decide(decide(execution, CallResult("gave")))
    return await store.executions.get(WORKSPACE, execution.id)
