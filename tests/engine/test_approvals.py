"""Approvals: nothing waits in memory, the first decision wins, a tool runs once as decided."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from outlast.engine.maintenance.due_waits import DUE_WAITS
from outlast.model.agent import Effect, Expiry
from outlast.model.error import (
    ApprovalNotFound,
    Conflict,
    ExecutionNotFound,
    InvalidArguments,
    InvalidField,
    MissingScope,
)
from outlast.model.event import ApprovalResolved, ToolFinished, ToolStarted
from outlast.model.execution import Status, ToolStep
from outlast.model.message import ToolMessage
from outlast.model.wait import Wait, WaitKind
from outlast.model.workspace import Principal, Scope
from outlast.services.approvals import Decision, PendingPage
from outlast.store.driver import Driver
from outlast.store.store import Store
from outlast.store.waits.decide import DecideWait
from outlast.store.waits.store import WaitStore
from outlast.testing import NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import EngineHarness, MakeEngine, start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio

SCHEMA = {"type": "object", "properties": {"amount": {"type": "integer", "maximum": 100}}}
PAY = call(1, "pay", amount=5)


def payer(*more: Any) -> FakeModel:
    return FakeModel(by_turn(["Let me.", PAY, *more], ["Done."]))


def pay(**more: Any) -> Any:
    made = tool("pay", Effect.DESTRUCTIVE, approval=True, **more)
    object.__setattr__(made, "parameters", SCHEMA)
    return made


async def suspended(
    make_engine: MakeEngine, model: FakeModel | None = None, **more: Any
) -> tuple[EngineHarness, str]:
    tools = FakeTools(pay=lambda arguments: arguments, look=lambda _: "seen")
    server = await make_engine(model or payer(), spec(pay(**more), tool("look")), tools)
    execution_id = await server.start()
    assert (await server.rest(execution_id)).execution.status is Status.SUSPENDED
    return server, execution_id


def tools_of(server: EngineHarness) -> FakeTools:
    tools = server.core.tools
    assert isinstance(tools, FakeTools)
    return tools


async def decide(
    server: EngineHarness, execution_id: str, *said: Any, of: str = PAY.id, **more: Any
) -> Any:
    approvals = server.core.services.approvals
    return await approvals.decide(server.caller, execution_id, of, Decision(*said, **more))


async def test_an_approved_call_runs_once_and_the_execution_goes_on(
    make_engine: MakeEngine,
) -> None:
    server, execution_id = await suspended(make_engine)
    decided = await decide(server, execution_id, True, "fine")
    view = await server.rest(execution_id)
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "Done.")
    assert tools_of(server).calls == {PAY.id: 1}
    assert (decided.approved, decided.reason) == (True, "fine")
    assert decided.decided_by == server.caller.key_id
    resolved = [e.event for e in await server.log(execution_id)]
    assert [e for e in resolved if isinstance(e, ApprovalResolved)] == [
        ApprovalResolved(2, PAY.id, True, "fine", None, "approval", server.caller.key_id)
    ]


async def test_a_denied_call_does_not_run_and_the_model_reads_why(make_engine: MakeEngine) -> None:
    server, execution_id = await suspended(make_engine)
    await decide(server, execution_id, False, "too much")
    view = await server.rest(execution_id)
    assert view.execution.status is Status.COMPLETED
    assert not tools_of(server).calls
    (step,) = [s for s in view.steps if isinstance(s, ToolStep)]
    assert step.is_error
    assert step.result.endswith("the tool did not run. Reason: too much")
    heard = server.model.requests[-1].messages[-1]
    assert isinstance(heard, ToolMessage)
    assert (heard.content, heard.is_error) == (step.result, True)


async def test_edited_arguments_are_what_the_tool_runs_with_and_all_are_kept(
    make_engine: MakeEngine,
) -> None:
    server, execution_id = await suspended(make_engine)
    decided = await decide(server, execution_id, True, parameters={"amount": 3})
    view = await server.rest(execution_id)
    (step,) = [s for s in view.steps if isinstance(s, ToolStep)]
    assert (step.result, step.call.parameters) == ({"amount": 3}, {"amount": 3})
    assert (decided.parameters, decided.effective_parameters) == ({"amount": 5}, {"amount": 3})
    started = [e.event for e in await server.log(execution_id) if isinstance(e.event, ToolStarted)]
    assert [e.parameters for e in started] == [{"amount": 3}]


async def test_edited_arguments_that_do_not_fit_name_the_field_and_decide_nothing(
    make_engine: MakeEngine,
) -> None:
    server, execution_id = await suspended(make_engine)
    with pytest.raises(InvalidArguments) as wrong:
        await decide(server, execution_id, True, parameters={"amount": 500})
    assert wrong.value.param == "parameters.amount"
    with pytest.raises(InvalidField):
        await decide(server, execution_id, False, parameters={"amount": 5})
    with pytest.raises(InvalidField):
        await decide(server, execution_id, True, result="paid")
    (approval,) = (await server.executions.get(server.caller, execution_id)).approvals
    assert approval.is_open


async def test_the_same_decision_again_is_answered_and_another_is_refused(
    make_engine: MakeEngine,
) -> None:
    server, execution_id = await suspended(make_engine)
    first = await decide(server, execution_id, True, "yes")
    await server.rest(execution_id)
    assert await decide(server, execution_id, True, "again") == first.__class__(
        **{**{f: getattr(first, f) for f in first.__slots__}, "begun_at": server.clock.now()}
    )
    for said in ((False,), (True, None, {"amount": 4})):
        with pytest.raises(Conflict):
            await decide(server, execution_id, *said)
    assert tools_of(server).calls == {PAY.id: 1}


async def test_of_many_that_decide_at_once_one_wins_and_the_tool_runs_once(
    make_engine: MakeEngine,
) -> None:
    server, execution_id = await suspended(make_engine)
    answers = await asyncio.gather(
        *(decide(server, execution_id, True, parameters={"amount": n % 3}) for n in range(12)),
        return_exceptions=True,
    )
    won = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(won) == 4
    assert all(isinstance(a, Conflict) for a in answers if isinstance(a, BaseException))
    await server.rest(execution_id)
    assert tools_of(server).calls == {PAY.id: 1}


async def test_each_call_is_decided_on_its_own_and_the_last_one_lets_it_go_on(
    make_engine: MakeEngine,
) -> None:
    other, look = call(2, "pay", amount=7), call(3, "look")
    server, execution_id = await suspended(make_engine, payer(other, look))
    assert tools_of(server).order == ["look"]
    await decide(server, execution_id, True)
    view = await server.executions.get(server.caller, execution_id)
    assert view.execution.status is Status.SUSPENDED
    assert tools_of(server).order == ["look"]
    await decide(server, execution_id, False, of=other.id)
    assert (await server.rest(execution_id)).execution.status is Status.COMPLETED
    assert tools_of(server).calls == {look.id: 1, PAY.id: 1}
    finished = [
        e.event for e in await server.log(execution_id) if isinstance(e.event, ToolFinished)
    ]
    assert sorted((e.step, e.is_error) for e in finished) == [(2, False), (3, True), (4, False)]


async def test_a_decision_while_other_tools_run_is_heard(make_engine: MakeEngine) -> None:
    gate, running = asyncio.Event(), asyncio.Event()

    async def slow(_: dict[str, Any]) -> str:
        running.set()
        await gate.wait()
        return "slow"

    tools = FakeTools(pay=lambda a: a, look=slow)
    server = await make_engine(payer(call(3, "look")), spec(pay(), tool("look")), tools)
    execution_id = await server.start()
    await asyncio.wait_for(running.wait(), BOUND)
    await decide(server, execution_id, True)
    gate.set()
    assert (await server.rest(execution_id)).execution.output == "Done."
    assert tools.calls[PAY.id] == 1


async def test_a_predicate_decides_per_call_whether_a_person_decides(
    make_engine: MakeEngine,
) -> None:
    cheap, dear = call(1, "pay", amount=1), call(2, "pay", amount=90)
    tools = FakeTools(pay=lambda a: a, **{"shop:dear": lambda a: a["amount"] > 10})
    paying = tool("pay", Effect.DESTRUCTIVE, approval="shop:dear")
    server = await make_engine(FakeModel(by_turn([cheap, dear], ["Done."])), spec(paying), tools)
    execution_id = await server.start()
    view = await server.rest(execution_id)
    assert view.execution.status is Status.SUSPENDED
    assert [a.tool_call_id for a in view.approvals] == [dear.id]
    assert tools.calls == {cheap.id: 1}


async def test_no_approval_of_others_and_no_decision_without_the_scope(
    make_engine: MakeEngine,
) -> None:
    server, execution_id = await suspended(make_engine)
    stranger = await owner(server.core, "other")
    reader = Principal("key_1", server.caller.workspace_id, frozenset({Scope.EXECUTIONS_READ}))
    approvals = server.core.services.approvals
    with pytest.raises(ExecutionNotFound):
        await approvals.decide(stranger, execution_id, PAY.id, Decision(True))
    with pytest.raises(MissingScope):
        await approvals.decide(reader, execution_id, PAY.id, Decision(True))
    with pytest.raises(ApprovalNotFound):
        await decide(server, execution_id, True, of=call(9, "x").id)
    assert (await approvals.pending(stranger, PendingPage(10)))[0] == []
    found, more = await approvals.pending(reader, PendingPage(10))
    assert ([a.tool_call_id for a in found], more) == ([PAY.id], False)


async def test_an_approval_of_an_ended_execution_cannot_be_decided(make_engine: MakeEngine) -> None:
    server, execution_id = await suspended(make_engine)
    await server.executions.cancel(server.caller, execution_id)
    with pytest.raises(Conflict):
        await decide(server, execution_id, True)
    assert (await server.core.services.approvals.pending(server.caller, PendingPage(9)))[0] == []


@pytest.mark.parametrize("approve", [False, True])
async def test_an_approval_that_expires_is_decided_by_default(
    make_engine: MakeEngine, approve: bool
) -> None:
    server, execution_id = await suspended(make_engine, expiry=Expiry(60, approve))
    server.clock.advance(59)
    assert await server.core.maintenance.run(DUE_WAITS) == 0
    server.clock.advance(1)
    assert await server.core.maintenance.run(DUE_WAITS) == 1
    assert await server.core.maintenance.run(DUE_WAITS) == 0
    view = await server.rest(execution_id)
    assert view.execution.status is Status.COMPLETED
    assert bool(tools_of(server).calls) is approve
    resolved = [
        e.event for e in await server.log(execution_id) if isinstance(e.event, ApprovalResolved)
    ]
    assert [(e.approved, e.reason, e.decided_by) for e in resolved] == [
        (approve, "No decision was made in time.", None)
    ]


async def test_the_expirer_looks_by_itself(make_engine: MakeEngine) -> None:
    server, execution_id = await suspended(make_engine, expiry=Expiry(5))
    server.clock.advance(6)
    async with asyncio.timeout(BOUND):
        while not (await server.executions.get(server.caller, execution_id)).execution.completed_at:
            await between_looks()
    assert not tools_of(server).calls


SAID = [
    ((True,), {}, 2, "paid"),
    ((True,), {"result": "it ran"}, 1, "it ran"),
    ((True,), {"result": None}, 1, None),
    ((False, "leave it"), {}, 1, "Reason: leave it"),
]


@pytest.mark.parametrize(("said", "more", "runs", "result"), SAID)
async def test_an_unknown_outcome_gets_a_result_runs_again_or_is_given_up(
    database: Database, said: Any, more: dict[str, Any], runs: int, result: Any
) -> None:
    reached = asyncio.Event()

    async def paying(_: dict[str, Any]) -> str:
        if not reached.is_set():
            reached.set()
            await asyncio.Event().wait()
        return "paid"

    tools = FakeTools(pay=paying)
    models = NamedModels({"actor": payer()})
    async with database.core(models=models, tools=tools, drain_seconds=0) as core:
        caller = await owner(core)
        agent = spec(tool("pay", Effect.DESTRUCTIVE))
        await core.services.agents.put(caller.workspace_id, [(agent, "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        await asyncio.wait_for(reached.wait(), BOUND)
    async with database.core(models=models, tools=tools) as core, asyncio.timeout(BOUND):
        view = await core.services.executions.rest(caller, started.execution.id)
        assert view.approvals[0].kind is WaitKind.UNKNOWN_OUTCOME
        await core.services.approvals.decide(
            caller, started.execution.id, PAY.id, Decision(*said, **more)
        )
        view = await core.services.executions.rest(caller, started.execution.id)
    (step,) = [s for s in view.steps if isinstance(s, ToolStep)]
    assert tools.calls[PAY.id] == runs
    if isinstance(result, str) and step.is_error:
        assert step.result.endswith(result)
    else:
        assert step.result == result


async def test_a_pending_approval_outlives_the_server_and_a_change_of_the_agent(
    database: Database,
) -> None:
    models, tools = NamedModels({"actor": payer()}), FakeTools(pay=lambda a: a)
    async with database.core(models=models, tools=tools) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(pay()), "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        await core.services.executions.rest(caller, started.execution.id)
    async with database.core(models=models, tools=tools) as core, asyncio.timeout(BOUND):
        await core.services.agents.put(caller.workspace_id, [(spec(), "2")])
        decision = Decision(approved=True, parameters={"amount": 9})
        await core.services.approvals.decide(caller, started.execution.id, PAY.id, decision)
        view = await core.services.executions.rest(caller, started.execution.id)
    assert (view.execution.status, view.execution.agent_version) == (Status.COMPLETED, 1)
    assert tools.calls == {PAY.id: 1}
    assert [s.result for s in view.steps if isinstance(s, ToolStep)] == [{"amount": 9}]


class RacingApprovals(WaitStore):
    """Lets a decision in right behind the segment's last look at the approvals."""

    decision: DecideWait | None = None

    async def of(self, workspace_id: str, execution_id: str) -> tuple[Wait, ...]:
        seen = await super().of(workspace_id, execution_id)
        if self.decision is None and any(approval.is_open for approval in seen):
            key, at = "key_1", 9
            self.decision = DecideWait(workspace_id, execution_id, PAY.id, at, Decision(True), key)
            await self.decide(self.decision)
        return seen


def racing(driver: Driver) -> Store:
    return replace(Store.over(driver), waits=RacingApprovals(driver))


async def test_a_decision_that_races_the_suspension_is_not_lost(database: Database) -> None:
    tools = FakeTools(pay=str, look=str)
    models = NamedModels({"actor": payer(call(3, "look"))})
    async with database.core(models=models, tools=tools, store=racing) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(pay(), tool("look")), "1")])
        async with asyncio.timeout(BOUND):
            _, view = await core.services.executions.run(caller, "agent", start_request())
        assert view.execution.status is Status.COMPLETED
    assert tools.calls[PAY.id] == 1
