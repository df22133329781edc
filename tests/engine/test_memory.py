"""Memory stores of executions: the tools, what the model reads, and when a write takes effect."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from outlast.agents.code import CodeFunctions
from outlast.app import Core
from outlast.model.agent import AgentSpec
from outlast.model.error import ConversationNotFound, MemoryArchived, MemoryStoreNotFound
from outlast.model.execution import Status, ToolStep
from outlast.model.memory import Access, MemoryAccess, MemoryStore, NamedStore, NewStore
from outlast.model.workspace import MemoryLimits, Plan, Principal
from outlast.services.executions import ExecutionView
from outlast.services.memory import ItemWrite, StoreChanges
from outlast.store.page import Page
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.crashes import Crash
from tests.support.databases import Another, Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import call, spec
from tests.support.waiting import BOUND, lives_until

pytestmark = pytest.mark.anyio

NAMES = ["memory_search", "memory_read", "memory_write", "memory_delete"]


async def made(core: Core, caller: Principal, name: str = "notes", **more: Any) -> MemoryStore:
    store, _ = await core.services.memory.create(caller, name, **more)
    return store


async def run(
    core: Core, caller: Principal, *stores: MemoryAccess, agent: str = "agent"
) -> ExecutionView:
    request = start_request(memory_stores=stores)
    started = await core.services.executions.start(caller, agent, request)
    async with asyncio.timeout(BOUND):
        return await core.services.executions.rest(caller, started.execution.id)


def results(view: ExecutionView) -> list[Any]:
    return [step.result for step in view.steps if isinstance(step, ToolStep)]


class House:
    """A server with one agent, and its model's requests."""

    def __init__(self, core: Core, caller: Principal, model: FakeModel) -> None:
        self.core, self.caller, self.model = core, caller, model


Play = Callable[..., Any]


@pytest.fixture
async def open_house(database: Database) -> Any:
    """open_house(replies…, agent=…, code=…) is a server."""
    contexts: list[Any] = []

    async def opened(
        *replies: Any, agent: AgentSpec | None = None, code: CodeFunctions | None = None
    ) -> House:
        model = FakeModel(by_turn(*replies))
        context = database.core(models=NamedModels({"actor": model}), clock=FakeClock(), code=code)
        core = await context.__aenter__()
        contexts.append(context)
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent or spec(), "1")])
        return House(core, caller, model)

    yield opened
    for context in contexts:
        await context.__aexit__(None, None, None)


async def test_the_tools_appear_by_themselves_and_the_instructions_name_the_stores(
    open_house: Play,
) -> None:
    house = await open_house(["Hi"], agent=replace(spec(), instructions="Be brief."))
    store = await made(house.core, house.caller, "customers", description="What they\nlike")
    other = await made(house.core, house.caller, "laws")
    await run(house.core, house.caller)
    stores = (MemoryAccess(store.id), MemoryAccess(other.id, Access.READ_ONLY))
    view = await run(house.core, house.caller, *stores)
    plain, with_stores = house.model.requests
    assert (plain.instructions, plain.tools) == ("Be brief.", ())
    assert with_stores.instructions == (
        "Be brief.\n\nMemory stores:\n- customers: What they like\n- laws (read-only)"
    )
    assert [tool.name for tool in with_stores.tools] == NAMES
    assert view.execution.memory_stores == stores
    await run(house.core, house.caller, MemoryAccess(other.id, Access.READ_ONLY))
    assert [tool.name for tool in house.model.requests[-1].tools] == NAMES[:2]


async def test_what_is_written_is_found_in_the_next_step_and_says_who_wrote_it(
    open_house: Play,
) -> None:
    house = await open_house(
        [call(1, "memory_write", key="customers/anna", content="Likes café crème")],
        [call(2, "memory_search", query="CAFE anna")],
        [call(3, "memory_read", key="/customers/anna")],
        [call(4, "memory_delete", key="customers/anna")],
        [call(5, "memory_search", query="")],
        ["Done"],
    )
    store = await made(house.core, house.caller)
    view = await run(house.core, house.caller, MemoryAccess(store.id))
    written, found, read, deleted, left = results(view)
    assert written == {"store": "notes", "key": "customers/anna", "written": True}
    assert found["items"] == [read]
    assert (read["content"], read["writtenBy"]) == ("Likes café crème", view.execution.id)
    assert deleted == {"store": "notes", "key": "customers/anna", "deleted": True}
    assert left == {"items": []}
    memories = house.core.store.memories
    first = view.steps[0]
    rows = house_rows(house, "SELECT item_id FROM memory_versions")
    versions = await memories.versions(house.caller.workspace_id, store.id, rows[0][0], 9, 9)
    assert [(one.content, one.writer.step) for one in versions] == [
        (None, 8),
        ("Likes café crème", 2),
    ]
    assert versions[1].writer.execution_id == view.execution.id
    assert versions[1].writer.key_id == house.caller.key_id
    assert versions[1].writer.tool_call_id == first.message.tool_calls[0].id  # type: ignore[union-attr]


def house_rows(house: House, statement: str) -> list[tuple[Any, ...]]:
    settings = house.core.settings
    kind = "postgresql" if settings.on_postgres else "sqlite"
    return Database(kind, settings.database_url or "", settings.data_dir).rows(statement)


async def test_a_call_that_cannot_be_is_an_error_for_the_model_and_writes_nothing(
    open_house: Play,
) -> None:
    house = await open_house(
        [call(1, "memory_write", key="a/../b", content="x", store="one")],
        [call(2, "memory_write", key="k", content="x" * 102_401, store="one")],
        [call(3, "memory_write", key="k", content="x", store="other")],
        [call(4, "memory_write", key="k", content="x", store="laws")],
        [call(5, "memory_read", key="k", store="one")],
        [call(6, "memory_delete", key="k", store="one")],
        [call(7, "memory_write", key="k", content="x")],
        [call(8, "memory_search", query='"\0 NEAR( 🎉 ' + "x" * 10_000)],
        [call(9, "memory_search", query="x", limit=51)],
        ["Done"],
    )
    one = await made(house.core, house.caller, "one")
    two = await made(house.core, house.caller, "two")
    laws = await made(house.core, house.caller, "laws")
    view = await run(
        house.core,
        house.caller,
        *(MemoryAccess(one.id), MemoryAccess(two.id), MemoryAccess(laws.id, Access.READ_ONLY)),
    )
    assert view.execution.status is Status.COMPLETED
    said = results(view)
    assert "no part of a key is . or .." in said[0]
    assert "102401 bytes" in said[1]
    assert said[2] == "There is no such memory store. There are: one, two, laws."
    assert said[3] == "The memory store laws is read-only."
    assert said[4] == "There is no item 'k' in one."
    assert said[5] == "The memory store has no such item."
    assert "store" in said[6]
    assert said[7] == {"items": []}
    assert "50" in said[8]
    assert [step.is_error for step in view.steps if isinstance(step, ToolStep)] == [
        number != 7 for number in range(9)
    ]
    assert house_rows(house, "SELECT count(*) FROM memory_versions") == [(0,)]


@pytest.mark.parametrize("fate", ["archived", "deleted", "full"])
async def test_a_store_that_refuses_the_write_when_it_is_recorded_makes_the_call_an_error(
    open_house: Play, fate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = await open_house([call(1, "memory_write", key="k", content="x")], ["Done"])
    store = await made(house.core, house.caller)
    memory, caller = house.core.services.memory, house.caller
    inner = house.core.tools.call
    one_item = dict.fromkeys(Plan, MemoryLimits(items=1))
    monkeypatch.setattr(house.core.store.memories, "limits", one_item)

    async def late(*arguments: Any) -> Any:
        result = await inner(*arguments)
        match fate:
            case "archived":
                await memory.update(caller, store.id, StoreChanges(archived=True))
            case "deleted":
                await memory.delete(caller, store.id)
            case _:
                await memory.write(caller, store.id, "other", ItemWrite("y"))
        return result

    monkeypatch.setattr(house.core.tools, "call", late)
    view = await run(house.core, caller, MemoryAccess(store.id))
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "Done")
    (step,) = [step for step in view.steps if isinstance(step, ToolStep)]
    assert step.is_error
    assert "memory store" in str(step.result)
    assert house_rows(house, "SELECT count(*) FROM memory_items WHERE key = 'k'") == [(0,)]


async def test_an_execution_goes_on_without_a_store_that_was_deleted_or_archived(
    open_house: Play,
) -> None:
    gate = asyncio.Event()
    house = await open_house(
        [gate, call(1, "memory_search", query="x")],
        [call(2, "memory_write", key="k", content="x")],
        ["Done"],
    )
    store = await made(house.core, house.caller)
    memory, caller = house.core.services.memory, house.caller
    request = start_request(memory_stores=(MemoryAccess(store.id),))
    started = await house.core.services.executions.start(caller, "agent", request)
    await memory.delete(caller, store.id)
    gate.set()
    async with asyncio.timeout(BOUND):
        view = await house.core.services.executions.rest(caller, started.execution.id)
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "Done")


async def test_a_tool_of_the_agent_keeps_its_name(open_house: Play) -> None:
    from outlast.agents.tools.builtin import builtin_spec

    own = builtin_spec("calculator", "memory_search")
    house = await open_house(["Hi"], agent=spec(own))
    store = await made(house.core, house.caller)
    await run(house.core, house.caller, MemoryAccess(store.id))
    tools = house.model.requests[-1].tools
    assert tools[0] == own
    assert [tool.name for tool in tools[1:]] == NAMES[1:]


async def remember(ctx: Any, given: str) -> str:
    await ctx.tool("memory_write", key="given", content=given)
    found = await ctx.tool("memory_search", query=given)
    await ctx.checkpoint({"found": len(found["items"])})
    item = await ctx.tool("memory_read", key="given")
    return f"{found['items'][0]['key']}: {item['content']}"


async def test_a_code_agent_calls_the_tools_by_name(open_house: Play) -> None:
    code = CodeFunctions({"m:remember": remember})
    house = await open_house(agent=spec(code="m:remember"), code=code)
    store = await made(house.core, house.caller)
    view = await run(house.core, house.caller, MemoryAccess(store.id))
    assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "given: Hello")


async def test_stores_are_checked_when_an_execution_is_started(open_house: Play) -> None:
    house = await open_house(["Hi"])
    good = MemoryAccess((await made(house.core, house.caller)).id)
    other = await owner(house.core, "other")
    foreign = MemoryAccess((await made(house.core, other)).id)
    archived = await made(house.core, house.caller)
    await house.core.services.memory.update(house.caller, archived.id, StoreChanges(archived=True))
    with pytest.raises(MemoryStoreNotFound) as missing:
        await run(house.core, house.caller, good, foreign)
    assert missing.value.param == "memoryStores.1"
    with pytest.raises(MemoryArchived) as closed:
        await run(house.core, house.caller, MemoryAccess(archived.id))
    assert closed.value.param == "memoryStores.0"


async def test_memory_outlives_the_conversation_and_the_execution_that_wrote_it(
    open_house: Play,
) -> None:
    house = await open_house([call(1, "memory_write", key="k", content="new")], ["Done"])
    store = await made(house.core, house.caller)
    view = await run(house.core, house.caller, MemoryAccess(store.id))
    services, conversation = house.core.services, view.execution.conversation_id
    await services.conversations.delete(house.caller, conversation)
    with pytest.raises(ConversationNotFound):
        await services.conversations.delete(house.caller, conversation)
    item = await services.memory.item(house.caller, store.id, "k")
    found = await services.memory.versions(house.caller, store.id, item.id, 99, 9)
    assert item.content == "new"
    assert [one.writer.execution_id for one in found[0]] == [view.execution.id]


async def test_a_roll_back_does_not_undo_what_was_written_and_a_version_restores_it(
    open_house: Play,
) -> None:
    house = await open_house([call(1, "memory_write", key="k", content="new")], ["Done"])
    store = await made(house.core, house.caller)
    memory, caller = house.core.services.memory, house.caller
    old = (await memory.write(caller, store.id, "k", ItemWrite("old"))).item
    assert old is not None
    view = await run(house.core, caller, MemoryAccess(store.id))
    executions = house.core.services.executions
    first, *_ = await executions.checkpoints(caller, view.execution.id)
    assert [(one.key, one.version, one.item_id) for one in first.memory] == [("k", 2, old.id)]
    await executions.resume(caller, view.execution.id, first.id)
    async with asyncio.timeout(BOUND):
        again = await executions.rest(caller, view.execution.id)
    assert again.execution.status is Status.COMPLETED
    shown = await executions.checkpoints(caller, view.execution.id)
    assert shown[0].memory == first.memory, "a roll-back leaves what was written"
    assert any(one.superseded for one in shown)
    versions, _ = await memory.versions(caller, store.id, old.id, 99, 9)
    assert [one.content for one in versions][-2:] == ["new", "old"]
    assert {one.content for one in versions} == {"new", "old"}
    restored = await memory.write(caller, store.id, "k", ItemWrite(versions[-1].content))
    assert restored.item is not None
    assert (restored.item.content, restored.item.id) == ("old", old.id)


@pytest.mark.parametrize("commits_last", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_commit_neither_loses_a_write_nor_makes_it_twice(
    another_database: Another, commits_last: bool
) -> None:
    def model() -> NamedModels:
        replies = (
            [call(1, "memory_write", key="a", content="one")],
            [
                call(2, "memory_write", key="a", content="two"),
                call(3, "memory_write", key="b", content="three"),
            ],
            ["Done"],
        )
        return NamedModels({"actor": FakeModel(by_turn(*replies))})

    for writes in range(100):
        database = another_database()
        crash, clock = Crash(writes, commits_last=commits_last), FakeClock()
        async with database.core(models=model(), clock=clock, store=crash.store) as core:
            caller = await owner(core)
            await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
            store = await made(core, caller)
            request = start_request(memory_stores=(MemoryAccess(store.id),))
            started = await core.services.executions.start(caller, "agent", request)
            resting = core.services.executions.rest(caller, started.execution.id)
            crashed = await lives_until(crash.happened, resting)
        async with (
            asyncio.timeout(BOUND),
            database.core(models=model(), clock=clock) as core,
        ):
            view = await core.services.executions.rest(caller, started.execution.id)
        assert (view.execution.status, view.execution.steps) == (Status.COMPLETED, 6), writes
        kept = database.rows(
            "SELECT i.key, v.version, v.content FROM memory_versions v "
            "JOIN memory_items i ON i.id = v.item_id ORDER BY i.key, v.version"
        )
        assert kept == [("a", 1, "one"), ("a", 2, "two"), ("b", 1, "three")], writes
        sums = database.rows("SELECT items, bytes FROM memory_stores")
        assert sums == [(2, 8)]
        if not crashed:
            assert writes > 5
            return
    pytest.fail("the run never outlived its store")


async def test_an_agents_stores_are_created_once_and_given_where_a_request_names_none(
    open_house: Play,
) -> None:
    named = (NamedStore("notes", "read_only"), NamedStore("laws"), NamedStore("gone"))
    house = await open_house(["Hi"], agent=replace(spec(), memory_stores=named))
    memory, caller = house.core.services.memory, house.caller
    wanted = {"notes": NewStore("What we know"), "laws": NewStore()}
    await asyncio.gather(*(memory.ensure(caller.workspace_id, wanted) for _ in range(5)))
    stores, _ = await memory.page(caller, Page(9))
    by_name = {store.name: store for store in stores}
    assert {name: NewStore(store.description) for name, store in by_name.items()} == wanted
    assert len(stores) == 2
    executions = house.core.services.executions
    own = (MemoryAccess(by_name["laws"].id),)
    given = (MemoryAccess(by_name["notes"].id, Access.READ_ONLY), *own)
    for chosen, expected in ((None, given), ((), ()), (own, own)):
        request = start_request(memory_stores=chosen)
        started = await executions.start(caller, "agent", request)
        assert started.execution.memory_stores == expected
