"""Pauses of trees: what an execution has called stops and continues with it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.model.execution import Execution, Status
from outlast.model.wait import Awaiting, Decision
from tests.support.databases import Database
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, tool
from tests.support.trees import CHILD, MakeTeam, Play, Team, agent, heard, make_team, said
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
PAUSED = Status.PAUSED


@pytest.fixture
async def team(database: Database) -> AsyncIterator[MakeTeam]:
    async with AsyncExitStack() as stack:
        yield make_team(database, stack)


def _calls(name: str, number: int) -> Play:
    def play(request: ModelRequest) -> Reply:
        given = heard(request)
        return [f"{name}: {given[0]}"] if given else [call(number, name, input="x")]

    return play


async def _made(team: MakeTeam, worker: Play) -> tuple[Team, FakeModel]:
    model = FakeModel(worker)
    world = await team(
        {"lead": _calls("middle", 1), "middle": _calls("worker", 2), "worker": model},
        agent("lead", agent_tool("middle")),
        agent("middle", agent_tool("worker")),
        agent("worker", tool("pay", approval=True)),
        tools=FakeTools(middle=CHILD, worker=CHILD, pay=lambda _: "paid"),
    )
    return world, model


async def _tree(world: Team, status: Status) -> list[Execution]:
    """A root that waits for a child that waits for one with this status."""
    root = await world.start()
    (middle,) = await world.below(root, 1)
    (worker,) = await world.below(middle.id, 1)
    await world.until(worker.id, status)
    await world.until(root, Status.SUSPENDED)
    await world.until(middle.id, Status.SUSPENDED)
    return await world.all()


async def _statuses(world: Team, tree: list[Execution]) -> list[Status]:
    return [(await world.get(one.id)).status for one in tree]


ASKS = by_turn([call(3, "pay")], ["Paid."])


async def test_a_paused_tree_that_awaits_a_person_does_so_again_once_it_is_resumed(
    team: MakeTeam,
) -> None:
    world, _ = await _made(team, ASKS)
    tree = await _tree(world, Status.SUSPENDED)
    await world.executions.pause(world.caller, tree[0].id, reason="Lunch.")
    assert await _statuses(world, tree) == [PAUSED] * 3
    assert [(await world.get(one.id)).paused_by for one in tree] == [None, *[tree[0].id] * 2]
    await world.executions.resume(world.caller, tree[0].id)
    assert await _statuses(world, tree) == [Status.SUSPENDED] * 3
    assert [(await world.get(one.id)).awaiting for one in tree] == [Awaiting.PERSON] * 3
    decide = world.core.services.approvals.decide
    await decide(world.caller, tree[0].id, call(3, "pay").id, Decision(approved=True))
    assert (await world.until(tree[0].id)).output == "middle: worker: Paid."


async def test_a_pause_now_closes_the_requests_of_all_below(team: MakeTeam) -> None:
    gate = asyncio.Event()
    world, model = await _made(team, lambda _: ["So ", gate, "far."])
    tree = await _tree(world, Status.RUNNING)
    await world.executions.pause(world.caller, tree[0].id, now=True)
    assert await _statuses(world, tree) == [PAUSED] * 3
    assert model.open == 0
    gate.set()
    await world.executions.resume(world.caller, tree[0].id)
    assert (await world.until(tree[0].id)).output == "middle: worker: So far."


async def test_a_running_child_pauses_at_its_next_boundary(team: MakeTeam) -> None:
    gate = asyncio.Event()
    worker = FakeModel(lambda request: ["Paid."] if heard(request) else [gate, call(3, "pay")])
    world, _ = await _made(team, worker._play)
    tree = await _tree(world, Status.RUNNING)
    pausing = asyncio.create_task(world.executions.pause(world.caller, tree[0].id))
    await world.until(tree[0].id, PAUSED)
    await world.until(tree[1].id, PAUSED)
    assert (await world.get(tree[2].id)).status is Status.RUNNING
    gate.set()
    async with asyncio.timeout(BOUND):
        await pausing
    assert (await world.until(tree[2].id, PAUSED)).paused_by == tree[0].id
    await world.executions.resume(world.caller, tree[0].id)
    assert (await world.get(tree[0].id)).awaiting is Awaiting.PERSON, "the approval is requested"


async def test_a_resume_before_the_boundary_withdraws_the_pause(team: MakeTeam) -> None:
    gate = asyncio.Event()
    world, model = await _made(team, lambda _: ["So ", gate, "far."])
    tree = await _tree(world, Status.RUNNING)
    pausing = asyncio.create_task(world.executions.pause(world.caller, tree[0].id))
    await world.until(tree[1].id, PAUSED)
    await world.executions.resume(world.caller, tree[0].id)
    gate.set()
    async with asyncio.timeout(BOUND):
        await pausing
    assert (await world.until(tree[0].id)).output == "middle: worker: So far."
    assert len(model.requests) == 1


async def test_a_child_that_was_paused_by_itself_stays_paused(team: MakeTeam) -> None:
    world, _ = await _made(team, ASKS)
    tree = await _tree(world, Status.SUSPENDED)
    root, middle, worker = tree
    await world.executions.pause(world.caller, worker.id)
    await world.executions.pause(world.caller, root.id)
    await world.executions.resume(world.caller, root.id)
    assert await _statuses(world, tree) == [Status.SUSPENDED, Status.SUSPENDED, PAUSED]
    shown = [(await world.get(one.id)).shown_status for one in (root, middle)]
    assert shown == [Status.RUNNING] * 2, "they wait for a child, not for a person"
    view = await world.executions.get(world.caller, root.id)
    (requested,) = view.approvals
    assert requested.execution_id == worker.id, "it can be decided while it is paused"
    await world.executions.resume(world.caller, worker.id)
    assert [(await world.get(one.id)).awaiting for one in tree] == [Awaiting.PERSON] * 3


async def test_a_pause_of_what_is_paused_with_its_root_is_its_own_from_then_on(
    team: MakeTeam,
) -> None:
    world, _ = await _made(team, ASKS)
    tree = await _tree(world, Status.SUSPENDED)
    root, middle, _ = tree
    await world.executions.pause(world.caller, root.id)
    await world.executions.pause(world.caller, middle.id)
    await world.executions.resume(world.caller, root.id)
    assert await _statuses(world, tree) == [Status.SUSPENDED, PAUSED, PAUSED]
    await world.executions.resume(world.caller, middle.id)
    assert await _statuses(world, tree) == [Status.SUSPENDED] * 3


async def test_a_child_that_is_resumed_by_itself_takes_along_what_stopped_with_it(
    team: MakeTeam,
) -> None:
    world, _ = await _made(team, ASKS)
    tree = await _tree(world, Status.SUSPENDED)
    await world.executions.pause(world.caller, tree[0].id)
    await world.executions.resume(world.caller, tree[1].id)
    assert await _statuses(world, tree) == [PAUSED, Status.SUSPENDED, Status.SUSPENDED]
    decide = world.core.services.approvals.decide
    await decide(world.caller, tree[2].id, call(3, "pay").id, Decision(approved=True))
    await world.until(tree[1].id, Status.COMPLETED)
    assert (await world.get(tree[0].id)).status is PAUSED
    await world.executions.resume(world.caller, tree[0].id)
    assert (await world.until(tree[0].id)).output == "middle: worker: Paid."


async def test_a_resumed_roll_back_cancels_what_is_superseded_and_wakes_none_of_it(
    team: MakeTeam,
) -> None:
    world, _ = await _made(team, ASKS)
    tree = await _tree(world, Status.SUSPENDED)
    decide = world.core.services.approvals.decide
    await decide(world.caller, tree[0].id, call(3, "pay").id, Decision(approved=True))
    await world.until(tree[0].id)
    checkpoints = await world.executions.checkpoints(world.caller, tree[0].id)
    await world.executions.resume(world.caller, tree[0].id, checkpoints[0].id)
    assert (await world.until(tree[0].id)).output == "middle: worker: Paid.", "its call stands"


async def test_cancelling_a_paused_tree_ends_all_of_it(team: MakeTeam) -> None:
    world, _ = await _made(team, ASKS)
    tree = await _tree(world, Status.SUSPENDED)
    await world.executions.pause(world.caller, tree[0].id)
    await world.executions.cancel(world.caller, tree[0].id)
    assert await _statuses(world, tree) == [Status.CANCELLED] * 3


async def test_children_that_wait_for_a_place_wait_again_after_a_pause(team: MakeTeam) -> None:
    gate = asyncio.Event()
    calls = [call(n, "worker", input=str(n)) for n in range(1, 24)]
    worker = FakeModel(lambda request: [gate, said(request)])
    lead = agent("lead", agent_tool("worker"))
    lead = replace(lead, limits=replace(lead.limits, max_steps=100))
    plays: dict[str, Play | FakeModel] = {"lead": by_turn(calls, ["Done."]), "worker": worker}
    world = await team(plays, lead, agent("worker"), concurrency=64)
    root = await world.start()
    children = await world.below(root, 23)
    for child in children[:20]:
        await world.until(child.id, Status.RUNNING)
    await world.until(root, Status.SUSPENDED)
    await world.executions.pause(world.caller, root, now=True)
    assert set(await _statuses(world, children)) == {PAUSED}
    await world.executions.resume(world.caller, root)
    again = await world.below(root, 23)
    assert [one.waiting for one in again] == [False] * 20 + [True] * 3
    gate.set()
    assert (await world.until(root)).output == "Done."
    assert await world.results(root) == [str(n) for n in range(1, 24)]
