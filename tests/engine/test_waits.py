"""Calls that wait for a client, a child or a time: what they give is the tool's result."""

import asyncio
from typing import Any

import pytest

from outlast.agents.port import WaitFor
from outlast.engine.maintenance.due_waits import DUE_WAITS
from outlast.model.agent import Effect
from outlast.model.client_call import ClientCallNotFound
from outlast.model.error import ApprovalNotFound, Conflict
from outlast.model.event import ApprovalRequested, ExecutionSuspended, ToolFinished, ToolStarted
from outlast.model.execution import Status, ToolStep
from outlast.model.message import ToolMessage
from outlast.model.wait import Awaiting, CallResult, Decision, WaitKind
from outlast.services.approvals import PendingPage
from outlast.services.executions import ExecutionView
from outlast.store.waits.decide import DecideWait
from tests.support.engine import EngineHarness, MakeEngine
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio

ASK, SLEEP, LOOK = call(1, "ask", amount=5), call(2, "sleep"), call(3, "look")
CLIENT = WaitFor(WaitKind.CLIENT)
SCHEMA = {"type": "object", "properties": {"amount": {"type": "integer", "maximum": 100}}}


def ask(**more: Any) -> Any:
    made = tool("ask", Effect.DESTRUCTIVE, **more)
    object.__setattr__(made, "parameters", SCHEMA)
    return made


def play(*calls: Any) -> FakeModel:
    return FakeModel(by_turn(["Let me.", *calls], ["Done."]))


async def engine_of(
    make_engine: MakeEngine, *calls: Any, waits_for: WaitFor = CLIENT, **more: Any
) -> tuple[EngineHarness, str]:
    """An execution that has made these calls: `ask` waits, `sleep` for 60 s, `look` runs."""
    timer = WaitFor(WaitKind.TIMER, 60)
    tools = FakeTools(ask=waits_for, sleep=timer, look=lambda _: "seen")
    agent = spec(ask(**more), tool("sleep"), tool("look"))
    server = await make_engine(play(*calls), agent, tools)
    return server, await server.start()


async def awaits(server: EngineHarness, execution_id: str, awaiting: Awaiting) -> None:
    """Wait until the execution is suspended for this party."""
    async with asyncio.timeout(BOUND):
        while True:
            row = await server.core.store.executions.get(server.caller.workspace_id, execution_id)
            if row.awaiting is awaiting:
                return
            await between_looks()


async def give(server: EngineHarness, execution_id: str, result: Any, **more: Any) -> Any:
    """Be the client."""
    of, is_error = more.get("of", ASK.id), more.get("is_error", False)
    return await server.core.store.waits.decide(
        DecideWait(
            server.caller.workspace_id,
            execution_id,
            of,
            server.clock.now(),
            CallResult(result, is_error=is_error),
            "key_1",
        )
    )


async def rest(server: EngineHarness, execution_id: str) -> ExecutionView:
    return await server.rest(execution_id)


def results(view: ExecutionView) -> list[Any]:
    steps = [step for step in view.steps if isinstance(step, ToolStep)]
    return [(step.call.name, step.result, step.is_error) for step in steps]


def read_by(server: EngineHarness) -> list[str]:
    """What the model read of its calls."""
    last = server.model.requests[-1].messages
    return [str(message.content) for message in last if isinstance(message, ToolMessage)]


async def test_what_the_client_gives_is_the_result_of_the_call(make_engine: MakeEngine) -> None:
    server, execution_id = await engine_of(make_engine, ASK)
    view = await rest(server, execution_id)
    assert (view.execution.status, view.execution.awaiting) == (Status.SUSPENDED, Awaiting.CLIENT)
    assert (view.execution.shown_status, view.approvals) == (Status.SUSPENDED, ())
    server.clock.advance(7)
    await give(server, execution_id, {"answer": 42})
    view = await rest(server, execution_id)
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "Done.")
    assert results(view) == [("ask", {"answer": 42}, False)]
    [step] = [step for step in view.steps if isinstance(step, ToolStep)]
    assert step.duration_ms >= 7000
    events = [entry.event for entry in await server.log(execution_id)]
    started = [event for event in events if isinstance(event, ToolStarted)]
    assert [event.tool_call_id for event in started] == [ASK.id]
    assert [event for event in events if isinstance(event, ApprovalRequested)] == []
    assert sum(isinstance(event, ToolFinished) for event in events) == 1
    assert ExecutionSuspended(Awaiting.CLIENT) in events
    assert isinstance(server.core.tools, FakeTools)
    assert not server.core.tools.calls


@pytest.mark.parametrize("given", ["It broke.", {"code": 7}])
async def test_an_error_of_the_client_is_the_tool_s_error(
    make_engine: MakeEngine, given: object
) -> None:
    server, execution_id = await engine_of(make_engine, ASK)
    await rest(server, execution_id)
    await give(server, execution_id, given, is_error=True)
    view = await rest(server, execution_id)
    assert view.execution.status is Status.COMPLETED
    assert results(view) == [("ask", given, True)]


async def test_a_timer_is_over_at_its_time_and_its_execution_is_shown_as_running(
    make_engine: MakeEngine,
) -> None:
    server, execution_id = await engine_of(make_engine, SLEEP)
    resting = asyncio.create_task(rest(server, execution_id), name="rest")
    await awaits(server, execution_id, Awaiting.TIME)
    view = await server.executions.get(server.caller, execution_id)
    assert (view.execution.status, view.execution.shown_status) == (
        Status.SUSPENDED,
        Status.RUNNING,
    )
    assert not resting.done()
    server.clock.advance(59)
    assert await server.core.maintenance.run(DUE_WAITS) == 0
    server.clock.advance(1)
    await server.core.maintenance.run(DUE_WAITS)
    ended = await resting
    assert ended.execution.status is Status.COMPLETED
    assert results(ended) == [("sleep", None, False)]


async def test_a_child_s_end_is_the_result_of_its_call(make_engine: MakeEngine) -> None:
    child = WaitFor(WaitKind.CHILD)
    server, execution_id = await engine_of(make_engine, ASK, waits_for=child)
    await awaits(server, execution_id, Awaiting.CHILD)
    await give(server, execution_id, "What the child said.")
    view = await rest(server, execution_id)
    assert results(view) == [("ask", "What the child said.", False)]
    assert "What the child said." in read_by(server)[0]


async def test_a_client_that_is_late_is_an_error_for_the_model(make_engine: MakeEngine) -> None:
    late = WaitFor(WaitKind.INPUT, 30)
    server, execution_id = await engine_of(make_engine, ASK, waits_for=late)
    await rest(server, execution_id)
    server.clock.advance(30)
    await server.core.maintenance.run(DUE_WAITS)
    view = await rest(server, execution_id)
    assert view.execution.status is Status.COMPLETED
    [(name, given, is_error)] = results(view)
    assert (name, is_error) == ("ask", True)
    assert "in time" in given
    with pytest.raises(Conflict):
        await give(server, execution_id, "too late")


async def test_what_runs_here_runs_while_the_client_works(make_engine: MakeEngine) -> None:
    server, execution_id = await engine_of(make_engine, ASK, LOOK, SLEEP)
    await awaits(server, execution_id, Awaiting.CLIENT)
    view = await server.executions.get(server.caller, execution_id)
    assert results(view) == [("look", "seen", False)]
    await give(server, execution_id, "mine")
    await awaits(server, execution_id, Awaiting.TIME)
    view = await server.executions.get(server.caller, execution_id)
    assert view.execution.shown_status is Status.RUNNING
    server.clock.advance(60)
    await server.core.maintenance.run(DUE_WAITS)
    view = await rest(server, execution_id)
    assert sorted(results(view)) == [
        ("ask", "mine", False),
        ("look", "seen", False),
        ("sleep", None, False),
    ]


async def test_a_person_approves_before_the_client_runs_what_was_approved(
    make_engine: MakeEngine,
) -> None:
    server, execution_id = await engine_of(make_engine, ASK, approval=True)
    view = await rest(server, execution_id)
    assert view.execution.awaiting is Awaiting.PERSON
    with pytest.raises(ClientCallNotFound):
        await give(server, execution_id, "not yet")
    approvals = server.core.services.approvals
    decision = Decision(approved=True, reason="It is Friday.", parameters={"amount": 3})
    await approvals.decide(server.caller, execution_id, ASK.id, decision)
    await awaits(server, execution_id, Awaiting.CLIENT)
    view = await server.executions.get(server.caller, execution_id)
    [waiting] = view.waits
    assert (waiting.arguments, waiting.parameters) == ({"amount": 3}, {"amount": 5})
    await give(server, execution_id, "paid")
    view = await rest(server, execution_id)
    assert view.execution.status is Status.COMPLETED
    [step] = [step for step in view.steps if isinstance(step, ToolStep)]
    assert (step.call.parameters, step.result) == ({"amount": 3}, "paid")
    assert "It is Friday." in read_by(server)[0]


async def test_a_client_s_call_is_no_approval(make_engine: MakeEngine) -> None:
    server, execution_id = await engine_of(make_engine, ASK)
    await rest(server, execution_id)
    approvals = server.core.services.approvals
    assert (await approvals.pending(server.caller, PendingPage(9)))[0] == []
    for decision in (Decision(approved=True), Decision(approved=False), Decision(True, result=1)):
        with pytest.raises(ApprovalNotFound):
            await approvals.decide(server.caller, execution_id, ASK.id, decision)
    view = await rest(server, execution_id)
    assert view.execution.status is Status.SUSPENDED


async def test_arguments_that_do_not_fit_are_shown_to_the_model_and_to_no_client(
    make_engine: MakeEngine,
) -> None:
    wrong = call(1, "ask", amount=1000)
    tools = FakeTools(ask=CLIENT)
    server = await make_engine(play(wrong), spec(ask()), tools)
    view = await server.run()
    assert view.execution.status is Status.COMPLETED
    [(name, _, is_error)] = results(view)
    assert (name, is_error) == ("ask", True)
    assert view.waits == ()


async def test_what_waits_for_a_time_can_be_paused_and_goes_on_waiting(
    make_engine: MakeEngine,
) -> None:
    server, execution_id = await engine_of(make_engine, SLEEP)
    await awaits(server, execution_id, Awaiting.TIME)
    executions = server.executions
    paused = await executions.pause(server.caller, execution_id)
    assert (paused.execution.status, paused.execution.awaiting) == (Status.PAUSED, None)
    resumed = await executions.resume(server.caller, execution_id)
    assert resumed.execution.shown_status is Status.RUNNING
    await awaits(server, execution_id, Awaiting.TIME)
    server.clock.advance(60)
    await server.core.maintenance.run(DUE_WAITS)
    assert (await rest(server, execution_id)).execution.status is Status.COMPLETED


@pytest.mark.parametrize("waits_for", [CLIENT, WaitFor(WaitKind.CHILD), WaitFor(WaitKind.TIMER, 9)])
async def test_what_waits_is_cancelled_at_once(make_engine: MakeEngine, waits_for: WaitFor) -> None:
    server, execution_id = await engine_of(make_engine, ASK, waits_for=waits_for)
    parties = {WaitKind.CLIENT: Awaiting.CLIENT, WaitKind.CHILD: Awaiting.CHILD}
    await awaits(server, execution_id, parties.get(waits_for.kind, Awaiting.TIME))
    cancelled = await server.executions.cancel(server.caller, execution_id)
    assert (cancelled.execution.status, cancelled.execution.awaiting) == (Status.CANCELLED, None)
    server.clock.advance(100)
    assert await server.core.maintenance.run(DUE_WAITS) == 0
    with pytest.raises(Conflict):
        await give(server, execution_id, "late")
