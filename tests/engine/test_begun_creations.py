"""On SQLite the commit that creates an execution begins it too, if the process has a free slot."""

import asyncio

import pytest

from outlast.model.budget import Bounds
from outlast.model.error import ConversationNotFound, Overloaded
from outlast.model.event import ExecutionCreated, ExecutionStarted
from outlast.model.execution import Execution, Status
from outlast.model.ids import CONVERSATION
from outlast.services.budgets import SetBudget
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.page import Page
from outlast.testing import NamedModels, owner
from tests.support.crashes import Crash
from tests.support.databases import SQLITE, Database
from tests.support.engine import EngineHarness, MakeEngine, start_request
from tests.support.models import FakeModel
from tests.support.recording import HoldingDriver, RecordingDriver, holding, recorded
from tests.support.tools import FakeTools, spec
from tests.support.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]


async def row_of(server: EngineHarness, execution_id: str) -> Execution:
    return await server.core.store.executions.get(server.caller.workspace_id, execution_id)


async def test_a_run_is_two_commits(make_engine: MakeEngine) -> None:
    drivers: list[RecordingDriver] = []
    gate = asyncio.Event()
    server = await make_engine(FakeModel(lambda _: [gate, "Hello"]), store=recorded(drivers))
    before = len(drivers[0].transactions)
    started = await server.executions.start(server.caller, "agent", start_request())
    created = started.execution
    assert (created.status, created.segment, created.started_at) == (Status.QUEUED, 0, None)
    row = await row_of(server, created.id)
    assert (row.status, row.segment, row.tries) == (Status.RUNNING, 1, 1)
    assert row.started_at == row.active_since == row.created_at
    gate.set()
    assert (await server.rest(created.id)).execution.output == "Hello"
    ended = await row_of(server, created.id)
    assert (ended.segment, ended.tries) == (1, 0)
    events = [(entry.segment, type(entry.event)) for entry in await server.log(created.id)]
    assert events[:2] == [(0, ExecutionCreated), (1, ExecutionStarted)]
    writes = drivers[0].transactions[before:]
    assert [one for one in writes if one != "append_text"] == ["create", "advance"]


async def test_what_finds_no_slot_is_queued_until_one_is_free(make_engine: MakeEngine) -> None:
    gate = asyncio.Event()
    server = await make_engine(FakeModel(lambda _: [gate, "Hello"]), concurrency=1)
    first, second, third = [await server.start() for _ in range(3)]
    statuses = [(await row_of(server, one)).status for one in (first, second, third)]
    assert statuses == [Status.RUNNING, Status.QUEUED, Status.QUEUED]
    gate.set()
    for one in (first, second, third):
        assert (await server.rest(one)).execution.segment == 1
    await until(lambda: server.core.engine.running == 0)
    assert (await row_of(server, await server.start())).segment == 1


async def test_the_slot_of_a_creation_that_fails_is_free_again(make_engine: MakeEngine) -> None:
    drivers: list[HoldingDriver] = []
    server = await make_engine(
        FakeModel(lambda _: ["Hello"]), concurrency=1, store=holding("create", drivers)
    )
    unknown = server.core.clock.new_id(CONVERSATION)
    failing = asyncio.create_task(server.start(conversation_id=unknown))
    await until(lambda: drivers[0].holds == 1)
    waiting = asyncio.create_task(server.start())
    await until(lambda: drivers[0].holds == 2)
    drivers[0].gate.set()
    with pytest.raises(ConversationNotFound):
        await failing
    queued = await waiting
    assert (await server.rest(queued)).execution.output == "Hello"


async def test_with_a_budget_the_begin_is_a_commit_of_its_own(make_engine: MakeEngine) -> None:
    drivers: list[RecordingDriver] = []
    server = await make_engine(FakeModel(lambda _: ["Hello"]), store=recorded(drivers))
    await server.core.services.budgets.set(
        server.caller, "workspace", SetBudget(Bounds(tokens=10_000))
    )
    before = len(drivers[0].transactions)
    assert (await server.rest(await server.start())).execution.output == "Hello"
    assert drivers[0].transactions[before:][:3] == ["create", "advance", "reserve_in_one"]


async def test_a_later_turn_that_waits_is_queued(make_engine: MakeEngine) -> None:
    gate = asyncio.Event()
    server = await make_engine(FakeModel(lambda _: [gate, "Hello"]))
    first = await server.start()
    conversation_id = (await row_of(server, first)).conversation_id
    second = await server.start(conversation_id=conversation_id)
    row = await row_of(server, second)
    assert (row.status, row.waiting, row.segment) == (Status.QUEUED, True, 0)
    gate.set()
    assert (await server.rest(second)).execution.output == "Hello"
    third = await server.start(conversation_id=conversation_id)
    assert (await server.rest(third)).execution.turn == 3


async def test_an_engine_that_stops_leaves_what_is_just_created_to_the_next_one(
    make_engine: MakeEngine,
) -> None:
    drivers: list[HoldingDriver] = []
    model = FakeModel(lambda _: ["Hello"])
    server = await make_engine(model, store=holding("create", drivers))
    starting = asyncio.create_task(server.start())
    await until(lambda: drivers[0].holds == 1)
    await server.core.engine.stop(0)
    drivers[0].gate.set()
    created = await starting
    await until(lambda: server.core.engine.running == 0)
    row = await row_of(server, created)
    assert (row.status, row.tries, model.requests) == (Status.RUNNING, 0, [])


async def test_a_crash_behind_the_creation_is_taken_over(database: Database) -> None:
    crash = Crash(transactions=None)
    models = NamedModels({"actor": FakeModel(lambda _: ["Hello"])})
    async with database.core(models=models, tools=FakeTools(), store=crash.store) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        crash.after(0, commits_last=True)
        with pytest.raises(Overloaded):
            await core.services.executions.start(caller, "agent", start_request())
    async with database.core(models=models, tools=FakeTools()) as core:
        (found,) = await core.store.executions.page(
            caller.workspace_id, ExecutionFilter(), Page(10)
        )
        view = await core.services.executions.rest(caller, found.id)
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "Hello")
    assert view.execution.segment == 2
