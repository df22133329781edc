"""Conversations are deleted once they were inactive for as long as their workspace keeps them."""

import asyncio
from contextlib import aclosing, suppress
from typing import Any

import pytest

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.engine.maintenance.retention import PURGE
from outlast.model.agent import Effect
from outlast.model.error import Conflict, ConversationNotFound
from outlast.model.execution import Status
from outlast.model.record import Tree
from outlast.model.retention import Plans
from outlast.model.wait import Decision
from outlast.model.workspace import Plan
from outlast.store.conversations.retention import Cutoffs
from outlast.testing import FakeClock
from tests.support.databases import Database
from tests.support.engine import EngineHarness, MakeEngine
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.trees import agent, heard, team_on
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio

DAY = 24 * 60 * 60
STARTER = Plans(default=Plan.STARTER)
MILLI = 0.001


async def serving(
    make_engine: MakeEngine, model: Any = None, *more: Any, **settings: Any
) -> EngineHarness:
    """A server whose duty runs only when a test runs it; its workspace is on the starter plan."""
    model = model or FakeModel(lambda _: ["Hello."])
    server = await make_engine(model, *more, **({"plans": STARTER} | settings))
    await server.core.maintenance.hold(PURGE)
    return server


async def exists(server: EngineHarness, conversation_id: str) -> bool:
    try:
        await server.core.services.conversations.get(server.caller, conversation_id)
    except ConversationNotFound:
        return False
    return True


async def plan(server: EngineHarness, plan: Plan, days: int | None = None) -> None:
    await server.core.store.workspaces.set_plan(server.caller.workspace_id, plan, days)


async def purged(server: EngineHarness) -> int:
    async with asyncio.timeout(BOUND):
        return await server.core.maintenance.run(PURGE)


@pytest.mark.parametrize(("of", "days"), [(Plan.STARTER, 90), (Plan.PROFESSIONAL, 180)], ids=str)
async def test_a_conversation_is_deleted_at_its_last_day_to_the_millisecond(
    make_engine: MakeEngine, of: Plan, days: int
) -> None:
    server = await serving(make_engine, plans=Plans(default=of))
    done = (await server.run()).execution
    server.clock.advance(days * DAY - MILLI)
    assert await purged(server) == 0
    server.clock.advance(MILLI)
    assert await purged(server) == 1
    assert not await exists(server, done.conversation_id)
    record = await server.core.store.executions.get(server.caller.workspace_id, done.id)
    assert (record.is_purged, record.input, record.output) == (True, "", None)
    assert record.credits == done.credits > 0
    assert await purged(server) == 0


@pytest.mark.parametrize(
    ("before", "days", "after", "kept"),
    [
        (Plan.STARTER, None, Plan.PROFESSIONAL, True),
        (Plan.STARTER, None, Plan.ENTERPRISE, True),
        (Plan.ENTERPRISE, None, Plan.STARTER, False),
        (Plan.ENTERPRISE, 91, Plan.ENTERPRISE, False),
        (Plan.ENTERPRISE, 92, Plan.ENTERPRISE, True),
        (Plan.STARTER, 1000, Plan.STARTER, False),
    ],
    ids=str,
)
async def test_the_plan_of_now_decides(
    make_engine: MakeEngine, before: Plan, days: int | None, after: Plan, kept: bool
) -> None:
    server = await serving(make_engine, plans=Plans(default=before))
    conversation = (await server.run()).execution.conversation_id
    server.clock.advance(91 * DAY)
    await plan(server, after, days)
    assert await purged(server) == (0 if kept else 1)
    assert await exists(server, conversation) is kept


async def test_nothing_is_deleted_unless_the_operator_chooses_a_plan(
    make_engine: MakeEngine,
) -> None:
    server = await serving(make_engine, plans=Plans())
    conversation = (await server.run()).execution.conversation_id
    server.clock.advance(5000 * DAY)
    assert await purged(server) == 0
    assert await exists(server, conversation)


async def test_a_turn_is_activity_and_reading_is_not(make_engine: MakeEngine) -> None:
    server = await serving(make_engine)
    conversation = (await server.run()).execution.conversation_id
    server.clock.advance(89 * DAY)
    await server.run(conversation_id=conversation)
    server.clock.advance(89 * DAY)
    assert await purged(server) == 0
    assert await exists(server, conversation)  # a read
    server.clock.advance(DAY)
    assert await purged(server) == 1


async def test_what_waits_for_a_person_is_kept_and_the_decision_is_activity(
    make_engine: MakeEngine,
) -> None:
    model = FakeModel(by_turn([call(1, "pay")], ["Paid."]))
    pay = tool("pay", Effect.DESTRUCTIVE, approval=True)
    server = await serving(make_engine, model, spec(pay), FakeTools(pay=lambda _: 1))
    waiting = (await server.run()).execution
    assert waiting.status is Status.SUSPENDED
    server.clock.advance(100 * DAY)
    assert await purged(server) == 0
    approvals, conversations = server.core.services.approvals, server.core.store.conversations
    await approvals.decide(server.caller, waiting.id, call(1, "pay").id, Decision(approved=True))
    row = await conversations.get(server.caller.workspace_id, waiting.conversation_id)
    assert row.last_active_at == server.clock.now()
    assert (await server.rest(waiting.id)).execution.status is Status.COMPLETED
    server.clock.advance(90 * DAY - MILLI)
    assert await purged(server) == 0
    server.clock.advance(MILLI)
    assert await purged(server) == 1


async def test_a_paused_execution_is_kept_and_is_due_once_it_has_ended(
    make_engine: MakeEngine,
) -> None:
    gate = asyncio.Event()
    server = await serving(make_engine, FakeModel(lambda _: ["a", gate]))
    execution_id = await server.start()
    await asyncio.wait_for(server.model.spoke.wait(), BOUND)
    await server.executions.pause(server.caller, execution_id, now=True)
    server.clock.advance(1000 * DAY)
    assert await purged(server) == 0
    await server.executions.cancel(server.caller, execution_id)
    assert await purged(server) == 0, "its end is activity"
    server.clock.advance(90 * DAY)
    assert await purged(server) == 1


async def test_a_message_that_comes_first_keeps_all_and_one_that_comes_later_finds_nothing(
    make_engine: MakeEngine,
) -> None:
    server = await serving(make_engine)
    first, second = [(await server.run()).execution.conversation_id for _ in range(2)]
    server.clock.advance(90 * DAY)
    store, now = server.core.store.conversations, server.clock.now()
    cutoffs = Cutoffs.of(STARTER, now)
    due = {one.id: one for one in await store.due(cutoffs, 10)}
    assert {*due} == {first, second}
    await server.run(conversation_id=first)  # after it was found, before it is deleted
    assert await store.delete_if_due([*due.values()], cutoffs, now) == 1
    assert not await exists(server, second)
    turns = (await server.core.services.conversations.get(server.caller, first)).turns
    assert [turn.execution.input for turn in turns] == ["Hello", "Hello"]
    with pytest.raises(ConversationNotFound):
        await server.run(conversation_id=second)


async def test_a_message_or_a_deletion_in_the_same_moment_is_all_or_nothing(
    make_engine: MakeEngine,
) -> None:
    server = await serving(make_engine)
    for delete in (False, True) * 3:
        conversation = (await server.run()).execution.conversation_id
        server.clock.advance(90 * DAY)
        services = server.core.services
        racing = (
            services.conversations.delete(server.caller, conversation)
            if delete
            else server.run(conversation_id=conversation)
        )
        _, other = await asyncio.gather(purged(server), racing, return_exceptions=True)
        if isinstance(other, ConversationNotFound) or delete:
            assert not await exists(server, conversation)
            continue
        turns = (await services.conversations.get(server.caller, conversation)).turns
        assert [turn.execution.output for turn in turns] == ["Hello.", "Hello."]
        with suppress(Conflict):
            await services.conversations.delete(server.caller, conversation)


async def test_a_resumed_execution_keeps_its_conversation(make_engine: MakeEngine) -> None:
    server = await serving(make_engine)
    done = (await server.run()).execution
    server.clock.advance(90 * DAY)
    first, *_ = await server.executions.checkpoints(server.caller, done.id)
    await server.executions.resume(server.caller, done.id, first.id)
    await server.rest(done.id)
    assert await purged(server) == 0
    server.clock.advance(90 * DAY)
    assert await purged(server) == 1
    with pytest.raises(Conflict):
        await server.executions.resume(server.caller, done.id)


async def test_an_open_stream_of_what_is_purged_ends(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.replay._BATCH", 1)
    monkeypatch.setattr("outlast.store.executions.log._PAGE_ROWS", 2)
    server = await serving(make_engine)
    done = (await server.run()).execution
    async with aclosing(server.executions.follow(server.caller, done.id)) as log:
        assert await anext(log)
        server.clock.advance(90 * DAY)
        assert await purged(server) == 1
        async with asyncio.timeout(BOUND):
            left = [entries async for entries in log]
    assert len(left) <= 1, "what was read before"


async def test_a_follower_that_missed_the_end_of_what_was_deleted_ends(
    make_engine: MakeEngine,
) -> None:
    gate = asyncio.Event()
    server = await serving(make_engine, FakeModel(lambda _: ["a", gate]))
    execution_id, streams = await server.start(), server.core.streams
    await asyncio.wait_for(server.model.spoke.wait(), BOUND)
    async with aclosing(server.executions.follow(server.caller, execution_id)) as log:
        assert await anext(log)
        heard = streams._subscriptions.pop(execution_id)  # its process misses the notifications
        await server.executions.delete(server.caller, execution_id)
        streams._subscriptions[execution_id] = heard
        reading = asyncio.ensure_future(_drained(log))
        async with asyncio.timeout(BOUND):
            while not reading.done():
                streams.missed()
                await asyncio.to_thread(int)
        await reading


async def _drained(log: Any) -> None:
    async for _ in log:
        pass


async def test_a_tree_is_deleted_as_one_with_its_roots_conversation_and_stays_charged(
    database: Database,
) -> None:
    clock, gate = FakeClock(), asyncio.Event()

    def lead(request: ModelRequest) -> Reply:
        given = heard(request)
        return [f"Got {given[0]}"] if given else [call(1, "worker", input="secret")]

    plays: Any = {"lead": lead, "worker": lambda _: ["secret", gate]}
    agents = (agent("lead", agent_tool("worker")), agent("worker"))
    async with team_on(database, plays, *agents, clock=clock, plans=STARTER) as team:
        await team.core.maintenance.hold(PURGE)
        root = await team.start()
        (child,) = await team.below(root, 1)
        await team.until(child.id, Status.RUNNING)
        clock.advance(80 * DAY)
        gate.set()
        conversation = (await team.until(root)).conversation_id
        workspace_id = team.caller.workspace_id
        before = await team.core.store.records.tree(workspace_id, root)
        clock.advance(90 * DAY - MILLI)
        assert await team.core.maintenance.run(PURGE) == 0, "100 days after it began"
        clock.advance(MILLI)
        assert await team.core.maintenance.run(PURGE) == 1
        with pytest.raises(ConversationNotFound):
            await team.core.services.conversations.get(team.caller, conversation)
        assert [(one.is_purged, one.output) for one in await team.all()] == [(True, None)] * 2
        after = await team.core.store.records.tree(workspace_id, root)
        assert _costs(after) == _costs(before)
        assert sum(_costs(after)) > 0
        tables = ("executions", "steps", "events", "checkpoints", "waits", "charges")
        assert "secret" not in str([database.rows(f"SELECT * FROM {one}") for one in tables])


def _costs(tree: Tree) -> list[int]:
    """What each node of a tree has cost, its parts before itself."""
    return [cost for child in tree.children for cost in _costs(child)] + [tree.record.credits]
