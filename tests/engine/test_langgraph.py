"""The LangGraph example streams, waits, pauses, crashes and goes on as any other agent."""

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from outlast.agents.code import CodeFunctions
from outlast.agents.loader import LoadedAgents
from outlast.agents.tools.toolbox import ToolBox
from outlast.app import Core
from outlast.model.event import TextAdded, ToolFinished
from outlast.model.execution import Status
from outlast.model.wait import Decision
from outlast.model.workspace import Principal
from outlast.testing import FakeClock, NamedModels, owner
from tests.engine.test_code import prompt
from tests.engine.test_code_examples import loaded, sell
from tests.support.crashes import Crash
from tests.support.databases import Another, Database
from tests.support.engine import EngineHarness, start_request
from tests.support.models import FakeModel
from tests.support.tools import call
from tests.support.waiting import BOUND, lives_until

pytestmark = pytest.mark.anyio


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[LoadedAgents]:
    with loaded("langgraph_loop", monkeypatch) as found:
        yield found


@pytest.fixture(autouse=True)
def _no_calls_to_the_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """LangGraph's own tracing dials by Python's sockets, which nothing else here does."""
    dialled: list[Any] = []

    def refuse(*arguments: Any, **_: Any) -> None:
        dialled.append(arguments)
        raise OSError("There is no network here.")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert not dialled


def on(
    database: Database, shop: LoadedAgents, model: FakeModel, later: int = 0, **more: Any
) -> Any:
    """A server with the example; one that starts later makes other ids."""
    clock = FakeClock(FakeClock().now() + later)
    return database.core(
        models=NamedModels({shop.specs[0].model: model}),
        tools=ToolBox(clock, shop.functions),
        code=CodeFunctions(shop.code),
        clock=clock,
        **more,
    )


async def started(core: Core, shop: LoadedAgents, **tool: Any) -> tuple[Principal, str]:
    """Ask for tea; `tool` is what is different about the price's tool."""
    caller = await owner(core)
    [spec] = shop.specs
    spec = replace(spec, tools=(replace(spec.tools[0], **tool),))
    await core.services.agents.put(caller.workspace_id, [(spec, "1")])
    return caller, (
        await core.services.executions.start(caller, spec.name, start_request("Tea?"))
    ).execution.id


async def rested(core: Core, caller: Principal, execution_id: str) -> Any:
    async with asyncio.timeout(BOUND):
        return await core.services.executions.rest(caller, execution_id)


@pytest.mark.parametrize("commits_last", [False, True], ids=["before", "after"])
async def test_a_graph_that_crashes_at_any_commit_reaches_the_same_end(
    another_database: Another, shop: LoadedAgents, commits_last: bool
) -> None:
    for writes in range(100):
        database, crash = another_database(), Crash(writes, commits_last=commits_last)
        async with on(database, shop, FakeModel(sell), store=crash.store) as core:
            caller, execution_id = await started(core, shop)
            await lives_until(crash.happened, rested(core, caller, execution_id))
        async with on(database, shop, FakeModel(sell), 1000) as core:
            view = await rested(core, caller, execution_id)
            log = await EngineHarness(core, caller, None, FakeClock()).log(execution_id)
        row = view.execution
        assert (row.status, row.output) == (Status.COMPLETED, "Tea is 3."), writes
        assert (row.usage.total_tokens, row.steps) == (30, 4), writes
        assert (row.state["notes"], row.state["answer"]) == (["price: 3"], "Tea is 3."), writes
        assert sum(isinstance(entry.event, ToolFinished) for entry in log) == 1, writes
        if not crash.happened.is_set():
            assert writes > 8
            return
    pytest.fail("the run never outlived its store")


async def test_a_graph_that_is_rolled_back_is_entered_at_the_node_that_is_due(
    database: Database, shop: LoadedAgents
) -> None:
    model = FakeModel(sell)
    async with on(database, shop, model) as core:
        caller, execution_id = await started(core, shop)
        await rested(core, caller, execution_id)
        known = await core.services.executions.checkpoints(caller, execution_id)
        states = [point for point in known if point.state is not None]
        assert [(s.state["calls"] != [], s.state["notes"]) for s in states if s.state] == [
            (True, []),
            (False, ["price: 3"]),
            (False, ["price: 3"]),
        ]
        await core.services.executions.resume(caller, execution_id, states[1].id)
        view = await rested(core, caller, execution_id)
        assert view.execution.output == "Tea is 3."
        assert len(model.requests) == 3
        assert prompt(model.requests[2]) == prompt(model.requests[1]) == "Tea?\n\nKnown:\nprice: 3"


@pytest.mark.parametrize("approved", [True, False])
async def test_a_node_waits_for_a_person_over_a_restart_and_the_model_reads_what_was_said(
    database: Database, shop: LoadedAgents, approved: bool
) -> None:
    def play(request: Any) -> Any:
        return ["As you like."] if "denied" in prompt(request) else sell(request)

    async with on(database, shop, FakeModel(play)) as core:
        caller, execution_id = await started(core, shop, approval=True)
        view = await rested(core, caller, execution_id)
        assert view.execution.status is Status.SUSPENDED
    model = FakeModel(play)
    async with on(database, shop, model, 1000) as core:
        [waiting] = view.approvals
        await core.services.approvals.decide(
            caller, execution_id, waiting.tool_call_id, Decision(approved, "So be it.")
        )
        view = await rested(core, caller, execution_id)
    assert view.execution.output == ("Tea is 3." if approved else "As you like.")
    assert len(model.requests) == 1
    assert ("So be it." in prompt(model.requests[0])) is not approved


async def test_a_graph_is_paused_and_cancelled_within_a_model_request_and_leaves_nothing(
    database: Database, shop: LoadedAgents
) -> None:
    gates = [asyncio.Event(), asyncio.Event(), asyncio.Event()]
    model = FakeModel(lambda request: ["Let me", gates[len(model.requests) - 1], " see."])
    others = asyncio.all_tasks()
    async with on(database, shop, model) as core:
        caller, execution_id = await started(core, shop)
        executions = core.services.executions
        async with asyncio.timeout(BOUND):
            await model.spoke.wait()
            view = await executions.pause(caller, execution_id, now=True)
            assert (view.execution.status, model.open) == (Status.PAUSED, 0)
            model.spoke.clear()
            await executions.resume(caller, execution_id)
            await model.spoke.wait()
            view = await executions.cancel(caller, execution_id)
        assert (view.execution.status, model.open) == (Status.CANCELLED, 0)
        assert (view.execution.output, len(model.requests)) == ("Let me", 2)
        log = await EngineHarness(core, caller, model, FakeClock()).log(execution_id)
        assert sum(isinstance(entry.event, TextAdded) for entry in log) == 2
    assert asyncio.all_tasks() == others


async def test_an_error_of_a_tool_is_shown_to_the_model_by_the_graph(
    database: Database, shop: LoadedAgents
) -> None:
    def play(request: Any) -> Any:
        known = "KeyError" in prompt(request)
        return ["There is none."] if known else [call(1, "price", article="gold")]

    async with on(database, shop, FakeModel(play)) as core:
        caller, execution_id = await started(core, shop)
        view = await rested(core, caller, execution_id)
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "There is none.")
