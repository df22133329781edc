"""Calls of one answer: how many run at once, how many there may be, and what outlives none."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from outlast.agents.models.chat_calls import CallDrafts
from outlast.agents.port import MAX_CALLS
from outlast.model.agent import Effect, Limits
from outlast.model.error import Refused
from outlast.model.event import ToolStarted
from outlast.model.execution import Budget, Status, ToolStep
from outlast.store.driver import Driver
from outlast.store.executions.store import ExecutionStore
from outlast.store.executions.values import Advance, Advanced, Resume
from outlast.store.store import Store
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import MakeEngine, start_request
from tests.support.models import USAGE, FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio


def many(count: int) -> list[Any]:
    return [call(number, "pay") for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("limits", "budget", "calls", "code"),
    [
        (Limits(max_steps=5), {}, 5000, "limit_exceeded"),
        (Limits(max_steps=5), {}, 5, "limit_exceeded"),
        (Limits(max_steps=100), {"max_steps": 3}, 3, "budget_exceeded"),
        (Limits(max_steps=10**6), {}, MAX_CALLS + 1, "limit_exceeded"),
    ],
)
async def test_no_call_of_an_answer_that_would_pass_a_bound_of_steps_is_begun(
    make_engine: MakeEngine, limits: Limits, budget: dict[str, Any], calls: int, code: str
) -> None:
    tools = FakeTools(pay=lambda _: "paid")
    model = FakeModel(by_turn(["I pay. ", *many(calls)], ["never"]))
    server = await make_engine(model, spec(tool("pay", Effect.DESTRUCTIVE), limits=limits), tools)
    execution = (await server.run(budget=Budget(**budget))).execution
    assert (execution.status, execution.steps) == (Status.FAILED, 1)
    assert execution.error is not None
    assert execution.error.code == code
    assert str(calls) in execution.error.message
    assert not tools.calls
    assert (execution.output, execution.usage) == ("I pay. ", USAGE)  # charged all the same
    assert not [e for e in await server.log(execution.id) if isinstance(e.event, ToolStarted)]


async def test_calls_that_just_fit_a_limit_of_steps_run(make_engine: MakeEngine) -> None:
    tools = FakeTools(pay=lambda _: "paid")
    agent = spec(tool("pay"), limits=Limits(max_steps=6))
    server = await make_engine(FakeModel(by_turn(many(4), ["Done"])), agent, tools)
    execution = (await server.run()).execution
    assert (execution.status, execution.steps) == (Status.COMPLETED, 6)
    assert sum(tools.calls.values()) == 4


async def test_an_answer_that_passed_a_limit_is_requested_anew_after_a_resume(
    make_engine: MakeEngine,
) -> None:
    tools = FakeTools(pay=lambda _: "paid")
    replies = iter([many(9), ["Done"]])
    server = await make_engine(
        FakeModel(lambda _: next(replies)), spec(tool("pay"), limits=Limits(max_steps=5)), tools
    )
    failed = (await server.run()).execution
    again = Resume(server.caller.workspace_id, failed.id, server.clock.now())
    await server.core.store.executions.resume(again)
    execution = (await server.rest(failed.id)).execution
    assert (execution.status, execution.output, execution.steps) == (Status.COMPLETED, "Done", 1)
    assert not tools.calls


@pytest.mark.parametrize("most", [1, 3, 32])
async def test_so_many_calls_of_an_execution_run_at_the_same_time(
    make_engine: MakeEngine, most: int
) -> None:
    running, highest = 0, 0

    async def pay(_: dict[str, Any]) -> str:
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        for _turn in range(3):
            await asyncio.to_thread(int)
        running -= 1
        return "paid"

    agent = spec(tool("pay"), limits=Limits(max_steps=200))
    model = FakeModel(by_turn(many(100), ["Done"]))
    server = await make_engine(model, agent, FakeTools(pay=pay), parallel_calls=most)
    execution = (await server.run()).execution
    assert (execution.status, execution.steps) == (Status.COMPLETED, 102)
    assert highest == most
    checkpoints = await server.core.store.checkpoints.of(server.caller.workspace_id, execution.id)
    assert max(len(one.missing) for one in checkpoints) < most


async def test_calls_that_were_not_begun_when_a_pause_came_run_behind_it(
    make_engine: MakeEngine,
) -> None:
    gate, reached = asyncio.Event(), asyncio.Event()

    async def pay(_: dict[str, Any]) -> str:
        reached.set()
        await gate.wait()
        return "paid"

    tools = FakeTools(pay=pay)
    agent = spec(tool("pay", Effect.DESTRUCTIVE), limits=Limits(max_steps=200))
    server = await make_engine(
        FakeModel(by_turn(many(9), ["Done"])), agent, tools, parallel_calls=2
    )
    execution_id = await server.start()
    await asyncio.wait_for(reached.wait(), BOUND)
    await server.executions.pause(server.caller, execution_id)
    gate.set()
    assert (await server.rest(execution_id)).execution.status is Status.PAUSED
    assert sum(tools.calls.values()) == 2
    await server.core.store.executions.resume(
        Resume(server.caller.workspace_id, execution_id, server.clock.now())
    )
    execution = (await server.rest(execution_id)).execution
    assert (execution.status, execution.steps) == (Status.COMPLETED, 11)
    assert set(tools.calls.values()) == {1}


class RefusesFirst(ExecutionStore):
    """Refuses to record the first tool call that ends."""

    async def advance(self, move: Advance) -> Advanced:
        if any(isinstance(step, ToolStep) for step in move.steps):
            raise Refused
        return await super().advance(move)


def refuses_first(driver: Driver) -> Store:
    return replace(Store.over(driver), executions=RefusesFirst(driver))


@pytest.mark.parametrize("siblings", [1, 5])
async def test_no_sibling_of_a_call_that_could_not_be_recorded_runs_on(
    database: Database, siblings: int
) -> None:
    left: list[int] = []

    async def pay(parameters: dict[str, Any]) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            left.append(parameters["n"])
        return "never"

    calls = [call(n, "pay", n=n) for n in range(1, siblings + 1)]
    models = NamedModels({"actor": FakeModel(by_turn([call(99, "look"), *calls], ["Done"]))})
    tools = FakeTools(pay=pay, look=lambda _: "seen")
    agent = spec(tool("look"), tool("pay", Effect.IDEMPOTENT))
    async with database.core(models=models, tools=tools, store=refuses_first) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent, "1")])
        _, view = await core.services.executions.run(caller, "agent", start_request())
        assert view.execution.status is Status.FAILED
        assert sorted(left) == list(range(1, siblings + 1))
        assert set(tools.calls.values()) == {1}


async def test_a_thousand_calls_are_recorded_in_linear_time(make_engine: MakeEngine) -> None:
    tools = FakeTools(pay=lambda _: "paid")
    agent = spec(tool("pay"), limits=Limits(max_steps=5000))
    server = await make_engine(FakeModel(by_turn(many(MAX_CALLS), ["Done"])), agent, tools)
    async with asyncio.timeout(60):
        execution_id = await server.start()
        while (
            await server.core.store.executions.get(server.caller.workspace_id, execution_id)
        ).status is not Status.COMPLETED:
            await between_looks()
    steps = await server.core.store.executions.steps(server.caller.workspace_id, execution_id)
    assert len(steps) == MAX_CALLS + 2
    checkpoints = await server.core.store.checkpoints.of(server.caller.workspace_id, execution_id)
    assert sum(len(one.missing) for one in checkpoints) <= 32 * MAX_CALLS


def test_an_event_of_sixty_thousand_calls_costs_no_more_than_the_calls_that_are_taken() -> None:
    clock = FakeClock()
    drafts = CallDrafts()
    for number in range(60_000):
        function = {"name": "pay", "arguments": "{}"}
        drafts.take({"index": number, "id": f"call_{number}", "function": function})
    assert len(drafts.finish(clock, "model")) == MAX_CALLS + 1
