"""Crash at every commit: whatever the store has is enough to reach the same end."""

import asyncio
from typing import Any

import pytest

from outlast.app import Core
from outlast.model.agent import Effect
from outlast.model.event import START, Cursor, Entry, StepRetried, TextAdded, ToolFinished
from outlast.model.execution import Status
from outlast.model.wait import WaitKind
from outlast.model.workspace import Principal
from outlast.services.executions import ExecutionView
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.crashes import Crash
from tests.support.databases import Another, Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, between_looks, lives_until

pytestmark = pytest.mark.anyio


async def spread(_: dict[str, Any]) -> str:
    """Give the text log a turn, so that its appends are commits of their own."""
    for _turn in range(3):
        await between_looks()
    return "seen"


def new_model() -> FakeModel:
    return FakeModel(
        by_turn(
            ["Let ", "me ", "look. ", call(1, "look")],
            ["And ", "again. ", call(2, "look")],
            ["All ", "is ", "well."],
        )
    )


class Client:
    """Follows a stream and comes back with its last cursor."""

    def __init__(self) -> None:
        self.seen: list[Entry] = []

    async def follow(self, core: Core, caller: Principal, execution_id: str) -> None:
        after = self.seen[-1].cursor if self.seen else START
        async for entries in core.services.executions.follow(caller, execution_id, after):
            self.seen.extend(entries)


async def until_crash(
    database: Database, tools: FakeTools, client: Client, crash: Crash
) -> tuple[Principal, str, bool]:
    """Run until the crash or to the end; whether it crashed."""
    models = NamedModels({"actor": new_model()})
    async with database.core(
        models=models,
        tools=tools,
        clock=FakeClock(),
        store=crash.store,
    ) as core:
        caller = await owner(core)
        agent = spec(tool("look", Effect.IDEMPOTENT))
        await core.services.agents.put(caller.workspace_id, [(agent, "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        following = client.follow(core, caller, started.execution.id)
        crashed = await lives_until(crash.happened, following)
        return caller, started.execution.id, crashed


async def after_restart(
    database: Database, tools: FakeTools, client: Client, caller: Principal, execution_id: str
) -> tuple[ExecutionView, list[Entry]]:
    models = NamedModels({"actor": new_model()})
    async with (
        asyncio.timeout(BOUND),
        database.core(models=models, tools=tools, clock=FakeClock()) as core,
    ):
        await client.follow(core, caller, execution_id)
        view = await core.services.executions.rest(caller, execution_id)
        whole = Client()
        await whole.follow(core, caller, execution_id)
        return view, whole.seen


def shown_text(entries: list[Entry]) -> str:
    """The text that a client shows in the end: a retried step's text is void."""
    shown: dict[int, str] = {}
    for entry in entries:
        match entry.event:
            case TextAdded(step, _, pieces):
                shown[step] = shown.get(step, "") + "".join(pieces)
            case StepRetried(step):
                shown.pop(step, None)
            case _:
                pass
    return "".join(shown.values())


@pytest.mark.parametrize("commits_last", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_commit_reaches_the_same_end(
    another_database: Another, commits_last: bool
) -> None:
    for writes in range(100):
        database = another_database()
        client, tools = Client(), FakeTools(look=spread)
        caller, execution_id, crashed = await until_crash(
            database, tools, client, Crash(writes, commits_last=commits_last)
        )
        view, whole = await after_restart(database, tools, client, caller, execution_id)
        assert view.execution.status is Status.COMPLETED, writes
        assert (view.execution.output, view.execution.steps) == ("All is well.", 5)
        assert view.execution.usage.total_tokens == 45
        charged = database.rows("SELECT step, credits FROM charges ORDER BY step")
        assert charged == [(1, 15_000_000), (3, 15_000_000), (5, 15_000_000)]
        assert view.execution.credits == 45_000_000
        assert client.seen == whole, writes
        assert [e.seq for e in whole] == list(range(1, len(whole) + 1))
        assert shown_text(whole) == "Let me look. And again. All is well."
        finished = [e.event.tool_call_id for e in whole if isinstance(e.event, ToolFinished)]
        assert len(finished) == len(set(finished)) == 2
        assert set(tools.calls) == {call(1, "look").id, call(2, "look").id}
        assert sum(tools.calls.values()) <= 3
        if not crashed:
            assert writes > 7
            return
    pytest.fail("the run never outlived its store")


async def test_a_destructive_call_that_ran_in_a_crash_becomes_a_question(
    database: Database,
) -> None:
    reached = asyncio.Event()

    async def pay(_: dict[str, Any]) -> None:
        reached.set()
        await asyncio.Event().wait()

    play = by_turn([call(1, "look"), call(2, "pay", amount=5)], ["Done"])
    agent = spec(tool("look"), tool("pay", Effect.DESTRUCTIVE))
    tools = FakeTools(look=lambda _: "seen", pay=pay)
    models = NamedModels({"actor": FakeModel(play)})
    async with database.core(models=models, tools=tools, drain_seconds=0) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent, "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        await asyncio.wait_for(reached.wait(), BOUND)
    for _ in range(2):
        async with database.core(models=models, tools=tools) as core:
            view = await core.services.executions.rest(caller, started.execution.id)
            assert view.execution.status is Status.SUSPENDED
            assert [(a.name, a.kind) for a in view.approvals] == [("pay", WaitKind.UNKNOWN_OUTCOME)]
    assert tools.order.count("pay") == 1
    assert tools.order.count("look") == 1


async def test_a_cancel_that_met_a_crash_is_kept(database: Database) -> None:
    model = FakeModel(lambda _: ["half", asyncio.Event()])
    models = NamedModels({"actor": model})
    async with database.core(models=models, tools=FakeTools(), drain_seconds=0) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        await asyncio.wait_for(model.spoke.wait(), BOUND)
        await core.store.executions.request_cancel(caller.workspace_id, started.execution.id)
    async with database.core(models=models, tools=FakeTools()) as core:
        view = await core.services.executions.rest(caller, started.execution.id)
        assert view.execution.status is Status.CANCELLED
    assert len(model.requests) == 1


async def test_a_store_that_recovers_lets_the_same_process_finish(database: Database) -> None:
    clock = FakeClock()
    crash = Crash(3, commits_last=False)
    models = NamedModels({"actor": new_model()})
    async with database.core(
        models=models, tools=FakeTools(look=spread), clock=clock, store=crash.store
    ) as core:
        caller = await owner(core)
        agent = spec(tool("look", Effect.IDEMPOTENT))
        await core.services.agents.put(caller.workspace_id, [(agent, "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        await asyncio.wait_for(crash.happened.wait(), BOUND)
        crash.clear()
        async with asyncio.timeout(BOUND):
            while core.engine.running:
                await between_looks()
            await between_looks()
            clock.advance(2)
            view = await core.services.executions.rest(caller, started.execution.id)
        assert view.execution.output == "All is well."


async def test_a_cursor_of_text_that_a_power_cut_took_resumes_at_the_retry(
    database: Database,
) -> None:
    """The client had seen more of segment 1 than the log has kept."""
    model = FakeModel(
        lambda _: ["half", asyncio.Event()] if len(model.requests) == 1 else ["whole"]
    )
    models = NamedModels({"actor": model})
    async with database.core(models=models, tools=FakeTools(), drain_seconds=0) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        await asyncio.wait_for(model.spoke.wait(), BOUND)
    async with asyncio.timeout(BOUND), database.core(models=models, tools=FakeTools()) as core:
        lost = Cursor(1, 99)
        heard = [
            entry
            async for entries in core.services.executions.follow(caller, started.execution.id, lost)
            for entry in entries
        ]
    assert [e.event.kind for e in heard] == [
        "execution.started",
        "step.retried",
        "text.added",
        "model.finished",
        "execution.completed",
    ]


async def test_an_execution_whose_first_commit_failed_is_taken_up_again(database: Database) -> None:
    clock = FakeClock()
    crash = Crash(0, commits_last=False)
    models = NamedModels({"actor": FakeModel(by_turn(["Hello"]))})
    async with database.core(
        models=models, tools=FakeTools(), clock=clock, store=crash.store
    ) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        await asyncio.wait_for(crash.happened.wait(), BOUND)
        crash.clear()
        async with asyncio.timeout(BOUND):
            while core.engine.running:
                await between_looks()
            await between_looks()
            clock.advance(2)
            view = await core.services.executions.rest(caller, started.execution.id)
        assert view.execution.output == "Hello"
