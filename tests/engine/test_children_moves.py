"""Cancel, delete, roll back and purge trees of executions."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import count

import pytest

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.model.agent import Limits
from outlast.model.error import Conflict, ExecutionNotFound
from outlast.model.execution import OUR_MISTAKE, TERMINAL, Execution, Status
from outlast.model.wait import Decision
from outlast.store.conversations.store import ConversationFilter
from outlast.store.executions.values import ForcedFailure
from tests.support.databases import Database
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, tool
from tests.support.trees import CHILD, MakeTeam, Play, Team, agent, heard, make_team, said
from tests.support.waiting import BOUND, between_looks, until

pytestmark = pytest.mark.anyio

LEAD = agent("lead", agent_tool("middle"))
MIDDLE = agent("middle", agent_tool("worker"))


@pytest.fixture
async def team(database: Database) -> AsyncIterator[MakeTeam]:
    async with AsyncExitStack() as stack:
        yield make_team(database, stack)


def _calls(name: str, number: int) -> Play:
    def play(request: ModelRequest) -> Reply:
        given = heard(request)
        return [f"{name}: {given[0]}"] if given else [call(number, name, input="x")]

    return play


async def _running(world: Team) -> tuple[Execution, Execution, Execution]:
    """A root that waits for a child that waits for one that runs."""
    root = await world.start()
    (middle,) = await world.below(root, 1)
    (worker,) = await world.below(middle.id, 1)
    await world.until(worker.id, Status.RUNNING)
    await world.until(root, Status.SUSPENDED)
    await world.until(middle.id, Status.SUSPENDED)
    return await world.get(root), await world.get(middle.id), await world.get(worker.id)


async def _asking(world: Team) -> tuple[Execution, Execution, Execution]:
    """The same, whose lowest waits for a person."""
    root = await world.start()
    (middle,) = await world.below(root, 1)
    (worker,) = await world.below(middle.id, 1)
    await world.until(worker.id, Status.SUSPENDED)
    await world.until(root, Status.SUSPENDED)
    return await world.get(root), await world.get(middle.id), await world.get(worker.id)


async def _made(team: MakeTeam, *, asks: bool = False) -> tuple[Team, FakeModel]:
    gate = asyncio.Event()
    worker = FakeModel(
        by_turn([call(3, "pay")], ["Paid."]) if asks else lambda _: ["So far.", gate, "Never."]
    )
    world = await team(
        {"lead": _calls("middle", 1), "middle": _calls("worker", 2), "worker": worker},
        LEAD,
        MIDDLE,
        agent("worker", tool("pay", approval=True)),
        tools=FakeTools(middle=CHILD, worker=CHILD, pay=lambda _: "paid"),
    )
    return world, worker


Start = Callable[[Team], Awaitable[tuple[Execution, Execution, Execution]]]


@pytest.mark.parametrize("asks", [False, True], ids=["running", "asking"])
async def test_cancelling_a_root_cancels_its_whole_tree(team: MakeTeam, *, asks: bool) -> None:
    world, model = await _made(team, asks=asks)
    tree = await (_asking(world) if asks else _running(world))
    await world.executions.cancel(world.caller, tree[0].id)
    found = [await world.get(one.id) for one in tree]
    assert [one.status for one in found] == [Status.CANCELLED] * 3
    assert model.open == 0, "the socket is closed"
    assert world.core.engine.running == 0
    if not asks:
        assert found[2].usage.estimated, "what was received is charged"


async def test_cancelling_a_root_cancels_children_that_wait_for_a_place_and_paused_ones(
    team: MakeTeam,
) -> None:
    calls = [call(n, "worker", input=str(n)) for n in range(1, 26)]
    gate = asyncio.Event()
    world = await team(
        {"lead": lambda _: calls, "worker": lambda _: ["So far.", gate, "Never."]},
        agent("lead", agent_tool("worker"), limits=Limits(max_steps=100)),
        agent("worker"),
        concurrency=64,
    )
    root = await world.start()
    children = await world.below(root, 25)
    for child in children[:20]:
        await world.until(child.id, Status.RUNNING)
    await world.executions.pause(world.caller, children[0].id, now=True)
    await world.executions.pause(world.caller, children[24].id)
    statuses = Counter(one.status for one in await world.below(root, 25))
    assert statuses[Status.PAUSED] == 2
    assert statuses[Status.QUEUED] >= 3, "they wait for a place"
    await world.executions.cancel(world.caller, root)
    found = await world.all()
    assert [one.status for one in found] == [Status.CANCELLED] * 26
    assert not any(one.waiting for one in found)
    await until(lambda: world.core.engine.running == 0)


@pytest.mark.parametrize("asks", [False, True], ids=["running", "asking"])
async def test_cancelling_one_child_is_an_error_that_its_parent_reads(
    team: MakeTeam, *, asks: bool
) -> None:
    world, _ = await _made(team, asks=asks)
    root, middle, worker = await (_asking(world) if asks else _running(world))
    await world.executions.cancel(world.caller, worker.id)
    assert (await world.until(root.id)).output == (
        "middle: worker: The agent's execution was cancelled."
    )
    assert (await world.get(middle.id)).status is Status.COMPLETED


async def test_cancelling_in_the_middle_cancels_below_and_wakes_above(team: MakeTeam) -> None:
    world, _ = await _made(team)
    root, middle, worker = await _running(world)
    await world.executions.cancel(world.caller, middle.id)
    assert (await world.until(root.id)).output == "middle: The agent's execution was cancelled."
    assert (await world.get(worker.id)).status is Status.CANCELLED


@pytest.mark.parametrize("asks", [False, True], ids=["running", "asking"])
async def test_deleting_a_root_deletes_its_whole_tree(
    team: MakeTeam, database: Database, *, asks: bool
) -> None:
    world, _ = await _made(team, asks=asks)
    tree = await (_asking(world) if asks else _running(world))
    await world.executions.delete(world.caller, tree[0].id)
    for one in tree:
        with pytest.raises(ExecutionNotFound):
            await world.get(one.id)
    for table in ("executions", "events", "steps", "waits", "checkpoints", "conversations"):
        assert database.rows(f"SELECT count(*) FROM {table}") == [(0,)], table
    async with asyncio.timeout(BOUND):
        while world.core.engine.running:
            await between_looks()


async def test_deleting_one_child_is_an_error_that_its_parent_reads(team: MakeTeam) -> None:
    world, _ = await _made(team)
    root, middle, worker = await _running(world)
    await world.executions.delete(world.caller, middle.id)
    assert (await world.until(root.id)).output == "middle: The agent's execution was cancelled."
    with pytest.raises(ExecutionNotFound):
        await world.get(worker.id)


async def test_a_row_deleted_while_it_is_live_does_not_leave_its_parent_waiting(
    team: MakeTeam,
) -> None:
    world, _ = await _made(team)
    root, middle, worker = await _running(world)
    await world.store.executions.delete(world.caller.workspace_id, worker.id)
    assert (await world.until(root.id)).output == (
        "middle: worker: The agent's execution was deleted."
    )
    assert (await world.get(middle.id)).status is Status.COMPLETED


async def test_a_forced_failure_ends_what_is_below_and_tells_what_is_above(
    team: MakeTeam,
) -> None:
    world, _ = await _made(team)
    root, middle, worker = await _running(world)
    forced = ForcedFailure(middle.workspace_id, middle.id, 1, OUR_MISTAKE, resting=True)
    assert await world.store.executions.force_failure(forced)
    assert (await world.until(root.id)).output == (
        "middle: The agent failed: The server made a mistake."
    )
    assert (await world.until(worker.id)).status is Status.CANCELLED


async def test_deleting_a_conversation_purges_its_trees(team: MakeTeam, database: Database) -> None:
    world, _ = await _made(team)
    root, middle, worker = await _running(world)
    await world.core.services.conversations.delete(world.caller, root.conversation_id)
    for one in (root, middle, worker):
        found = await world.get(one.id)
        assert found.status in TERMINAL
        assert (found.is_purged, found.input, found.output) == (True, "", None)
    assert database.rows("SELECT count(*) FROM events") == [(0,)]
    assert database.rows("SELECT count(*) FROM waits") == [(0,)]


async def test_a_childs_conversation_is_in_no_list(team: MakeTeam) -> None:
    world = await team(
        {"lead": _calls("middle", 1), "middle": lambda _: ["."]}, LEAD, agent("middle")
    )
    root = await world.start()
    await world.until(root)
    listed, _ = await world.core.services.conversations.page(world.caller, ConversationFilter(), 10)
    assert [one.conversation.id for one in listed] == [(await world.get(root)).conversation_id]


async def test_a_roll_back_behind_a_call_supersedes_its_child_and_calls_anew(
    team: MakeTeam,
) -> None:
    world, worker = await _researching(team)
    root = await world.start()
    assert (await world.until(root)).output == "Got Did x"
    first, *_ = await world.executions.checkpoints(world.caller, root)
    await world.executions.resume(world.caller, root, first.id)
    assert (await world.until(root)).output == "Got Did x"
    old, new = await world.below(root, 2)
    assert (old.superseded, old.status, old.credits) == (True, Status.COMPLETED, new.credits)
    assert (new.superseded, new.status) == (False, Status.COMPLETED)
    assert len(worker.requests) == 2


async def test_a_roll_back_behind_the_call_of_a_live_child_cancels_it(team: MakeTeam) -> None:
    gate = asyncio.Event()
    world, worker = await _researching(team, gate)
    root = await world.start()
    (old,) = await world.below(root, 1)
    await world.until(old.id, Status.RUNNING)
    await world.until(root, Status.SUSPENDED)
    pausing = asyncio.create_task(world.executions.pause(world.caller, root))
    await world.until(root, Status.PAUSED)
    first, *_ = await world.executions.checkpoints(world.caller, root)
    await world.executions.resume(world.caller, root, first.id)
    _, new = await world.below(root, 2)
    assert (await world.until(old.id)).status is Status.CANCELLED
    await world.until(new.id, Status.RUNNING)
    gate.set()
    await pausing
    assert (await world.until(root)).output == "Got Did x"
    assert (await world.get(root)).segment == 3, "the cancelled child has not woken it"
    assert worker.open == 0


async def test_a_child_whose_call_stands_is_not_run_again(team: MakeTeam) -> None:
    world, worker = await _researching(team)
    root = await world.start()
    await world.until(root)
    _, _, called, *_ = await world.executions.checkpoints(world.caller, root)
    await world.executions.resume(world.caller, root, called.id)
    ended = await world.until(root)
    assert (ended.output, ended.children) == ("Got Did x", 1)
    assert len(worker.requests) == 1


async def _researching(team: MakeTeam, *gates: asyncio.Event) -> tuple[Team, FakeModel]:
    """A root that looks first, and then calls a worker."""
    numbers = count(10)

    def lead(request: ModelRequest) -> Reply:
        given = heard(request)
        if not given:
            return [call(next(numbers), "look")]
        return (
            [call(next(numbers), "worker", input="x")] if given == ["seen"] else [f"Got {given[0]}"]
        )

    worker = FakeModel(lambda request: [*gates, f"Did {said(request)}"])
    world = await team(
        {"lead": lead, "worker": worker},
        agent("lead", tool("look"), agent_tool("worker")),
        agent("worker"),
        tools=FakeTools(look=lambda _: "seen", worker=CHILD),
    )
    return world, worker


async def test_a_cancelled_parent_that_is_resumed_reads_what_became_of_its_child(
    team: MakeTeam,
) -> None:
    world, _ = await _made(team)
    root, middle, _ = await _running(world)
    await world.executions.cancel(world.caller, root.id)
    await world.executions.resume(world.caller, root.id)
    ended = await world.until(root.id)
    assert ended.output == "middle: The agent's execution was cancelled."
    assert ended.children == 1
    assert (await world.get(middle.id)).status is Status.CANCELLED


async def test_a_child_that_ends_while_its_parent_is_paused_is_read_when_it_is_resumed(
    team: MakeTeam,
) -> None:
    world, _ = await _made(team, asks=True)
    root, middle, worker = await _asking(world)
    await world.executions.pause(world.caller, root.id)
    decision = Decision(approved=True)
    await world.executions.resume(world.caller, middle.id)
    await world.core.services.approvals.decide(world.caller, worker.id, call(3, "pay").id, decision)
    await world.until(middle.id)
    assert (await world.get(root.id)).status is Status.PAUSED
    await world.executions.resume(world.caller, root.id)
    assert (await world.until(root.id)).output == "middle: worker: Paid."


async def test_a_child_that_has_ended_is_resumed_with_its_parent_only(team: MakeTeam) -> None:
    world, worker = await _researching(team)
    root = await world.start()
    await world.until(root)
    (child,) = await world.below(root, 1)
    (point,) = await world.executions.checkpoints(world.caller, child.id)
    for checkpoint in (None, point.id):
        with pytest.raises(Conflict, match="roll its parent back"):
            await world.executions.resume(world.caller, child.id, checkpoint)
    assert (await world.get(child.id)) == child
    assert len(worker.requests) == 1
