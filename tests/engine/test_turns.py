"""Turns of a conversation, places in the engine, draining."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from outlast.agents.port import ModelRequest
from outlast.model.agent import Effect
from outlast.model.error import (
    ConversationBusy,
    Overloaded,
)
from outlast.model.execution import OnBusy, Status
from outlast.store.driver import Driver
from outlast.store.executions.store import ExecutionStore
from outlast.store.store import Store
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import EngineHarness, MakeEngine, start_request
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio


async def test_a_conversation_runs_one_turn_at_a_time_and_remembers(
    share_engine: MakeEngine,
) -> None:
    gate = asyncio.Event()
    model = FakeModel(lambda r: [f"{len(r.messages)}", gate])
    server = await share_engine(model)
    first = await server.start("one", session={"userName": "Sarah"})
    await asyncio.wait_for(model.spoke.wait(), BOUND)
    conversation = (await server.executions.get(server.caller, first)).execution.conversation_id
    others = [await server.start(f"{n}", conversation_id=conversation) for n in range(3)]
    with pytest.raises(ConversationBusy):
        await server.start("no", conversation_id=conversation, on_busy=OnBusy.REJECT)
    assert server.core.engine.running == 1
    gate.set()
    views = [await server.rest(execution_id) for execution_id in (first, *others)]
    assert [view.execution.output for view in views] == ["1", "3", "5", "7"]
    assert all("userName: Sarah" in request.instructions for request in model.requests)


async def test_interrupt_cancels_what_is_live_and_runs_next(share_engine: MakeEngine) -> None:
    model = FakeModel(lambda r: ["waiting", asyncio.Event()] if len(r.messages) == 1 else ["now"])
    server = await share_engine(model)
    first = await server.start("one")
    await asyncio.wait_for(model.spoke.wait(), BOUND)
    conversation = (await server.executions.get(server.caller, first)).execution.conversation_id
    queued = await server.start("two", conversation_id=conversation)
    view = await server.run("three", conversation_id=conversation, on_busy=OnBusy.INTERRUPT)
    assert view.execution.output == "now"
    for gone in (first, queued):
        assert (await server.rest(gone)).execution.status is Status.CANCELLED


class Late(ExecutionStore):
    """Leaves word to cancel just behind the segment's rest."""

    gate: asyncio.Event

    async def request_cancel(self, workspace_id: str, execution_id: str) -> None:
        self.gate.set()
        while (await self.get(workspace_id, execution_id)).status is Status.RUNNING:
            await between_looks()
        await super().request_cancel(workspace_id, execution_id)


def late(driver: Driver) -> Store:
    return replace(Store.over(driver), executions=Late(driver))


async def test_interrupt_ends_what_came_to_wait_for_a_person_just_then(database: Database) -> None:
    Late.gate = gate = asyncio.Event()

    def play(request: ModelRequest) -> Reply:
        return ["Hm", gate, call(1, "pay")] if len(request.messages) == 1 else ["now"]

    model, agent = FakeModel(play), spec(tool("pay", approval=True))
    models = NamedModels({"actor": model})
    async with database.core(models=models, tools=FakeTools(), store=late) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent, "1")])
        server = EngineHarness(core, caller, model, FakeClock())
        first = await server.start("one")
        await asyncio.wait_for(model.spoke.wait(), BOUND)
        conversation = (await server.executions.get(caller, first)).execution.conversation_id
        turn = {"conversation_id": conversation, "on_busy": OnBusy.INTERRUPT}
        assert (await server.run("two", **turn)).execution.output == "now"
        assert (await server.rest(first)).execution.status is Status.CANCELLED


class Away(ExecutionStore):
    """Is away for whoever asks for a cancel."""

    async def request_cancel(self, workspace_id: str, execution_id: str) -> None:
        raise Overloaded


def away(driver: Driver) -> Store:
    return replace(Store.over(driver), executions=Away(driver))


async def test_interrupt_needs_nothing_but_the_commit_that_makes_its_turn(
    database: Database,
) -> None:
    model = FakeModel(lambda r: ["waiting", asyncio.Event()] if len(r.messages) == 1 else ["now"])
    models = NamedModels({"actor": model})
    async with database.core(models=models, tools=FakeTools(), store=away) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        server = EngineHarness(core, caller, model, FakeClock())
        first = await server.start("one")
        await asyncio.wait_for(model.spoke.wait(), BOUND)
        conversation = (await server.executions.get(caller, first)).execution.conversation_id
        turn = {"conversation_id": conversation, "on_busy": OnBusy.INTERRUPT}
        assert (await server.run("two", **turn)).execution.output == "now"


async def test_interrupt_lets_nothing_begin_that_it_ends(share_engine: MakeEngine) -> None:
    model = FakeModel(by_turn(["Hm", call(1, "pay")], ["Done."]))
    server = await share_engine(model, spec(tool("pay", approval=True)))
    first = await server.start("one")
    view = await server.rest(first)
    conversation = view.execution.conversation_id
    second = await server.start("two", conversation_id=conversation)
    third = await server.start("3", conversation_id=conversation, on_busy=OnBusy.INTERRUPT)
    await server.rest(third)
    gone = (await server.executions.get(server.caller, second)).execution
    assert (gone.status, gone.segment) == (Status.CANCELLED, 0)


async def test_no_more_run_at_a_time_than_allowed_and_all_get_their_turn(
    make_engine: MakeEngine,
) -> None:
    most = 0

    def play(_: Any) -> list[str]:
        nonlocal most
        most = max(most, server.core.engine.running)
        return ["ok"]

    server = await make_engine(FakeModel(play), concurrency=3)
    ids = [await server.start() for _ in range(20)]
    for execution_id in ids:
        assert (await server.rest(execution_id)).execution.status is Status.COMPLETED
    assert most <= 3


async def test_draining_ends_a_segment_at_its_next_commit_and_the_next_process_goes_on(
    database: Database,
) -> None:
    gate, reached = asyncio.Event(), asyncio.Event()

    async def slow(_: dict[str, Any]) -> str:
        reached.set()
        await gate.wait()
        return "slow"

    model = FakeModel(by_turn([call(1, "slow")], ["Done"]))
    tools = FakeTools(slow=slow)
    agent = spec(tool("slow", Effect.DESTRUCTIVE))
    async with database.core(
        models=NamedModels({"actor": model}), tools=tools, drain_seconds=5
    ) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent, "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        await asyncio.wait_for(reached.wait(), BOUND)
        closing = asyncio.ensure_future(core.engine.stop(5))
        await asyncio.wait({closing}, timeout=0)
        gate.set()
        await closing
        released = await core.store.executions.get(caller.workspace_id, started.execution.id)
        assert (released.status, released.steps) == (Status.QUEUED, 2)
    async with database.core(models=NamedModels({"actor": model}), tools=tools) as core:
        view = await core.services.executions.rest(caller, started.execution.id)
        assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "Done")
        assert sum(tools.calls.values()) == 1


async def test_what_cannot_finish_in_the_grace_is_taken_up_as_after_a_crash(
    database: Database,
) -> None:
    model = FakeModel(
        lambda _: ["half", asyncio.Event()] if len(model.requests) == 1 else ["whole"]
    )
    async with database.core(
        models=NamedModels({"actor": model}), tools=FakeTools(), drain_seconds=0
    ) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        await asyncio.wait_for(model.spoke.wait(), BOUND)
    assert model.open == 0
    async with database.core(models=NamedModels({"actor": model}), tools=FakeTools()) as core:
        view = await core.services.executions.rest(caller, started.execution.id)
        assert view.execution.output == "whole"
