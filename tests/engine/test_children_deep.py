"""A tree as deep as trees may be, with many children on its lowest level: as one it ends and stops.

`make hostile` gives the lowest level as many as one execution may have.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Final

import pytest

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.model.agent import Limits
from outlast.model.execution import TERMINAL, Execution, Status
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.page import Page
from tests.support.databases import Database
from tests.support.long_cases import WHOLE
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import call
from tests.support.trees import MakeTeam, Team, agent, make_team
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio

DEPTH: Final = 5
CHILDREN: Final = 100 if WHOLE else 24
AT_ONCE: Final = 20
MANY: Final = Limits(max_steps=2 * CHILDREN)
COST: Final = 15_000_000
"""Nano-credits of a model request."""


@pytest.fixture
async def team(database: Database) -> AsyncIterator[MakeTeam]:
    async with AsyncExitStack() as stack:
        yield make_team(database, stack)


async def _tree(team: MakeTeam, *gates: asyncio.Event) -> tuple[Team, str]:
    """A root above a chain of agents, the last of which calls many at once."""
    names = [f"level{depth}" for depth in range(DEPTH + 1)]
    leaf = names[-1]

    def many(request: ModelRequest) -> Reply:
        return by_turn([call(n, leaf, input=f"part {n}") for n in range(CHILDREN)], ["All."])(
            request
        )

    plays = {
        name: FakeModel(by_turn([call(1, below, input="x")], [f"{name}."]))
        for name, below in pairwise(names[:-1])
    }
    plays |= {names[-2]: FakeModel(many), leaf: FakeModel(lambda _: ["So ", *gates, "much."])}
    specs = [agent(one, agent_tool(below), limits=MANY) for one, below in pairwise(names)]
    world = await team(plays, *specs, agent(leaf))
    return world, await world.start(names[0])


async def _all(world: Team) -> list[Execution]:
    found = await world.store.executions.page(
        world.caller.workspace_id, ExecutionFilter(), Page(1000)
    )
    return sorted(found, key=lambda one: one.id)


def _leaves(found: list[Execution]) -> list[Execution]:
    return [one for one in found if one.depth == DEPTH]


async def _until_running(world: Team) -> None:
    """Return once as many leaves run as may at a time."""
    async with asyncio.timeout(BOUND):
        while True:
            leaves = _leaves(await _all(world))
            running = [one for one in leaves if one.status is Status.RUNNING]
            if len(leaves) == CHILDREN and len(running) == AT_ONCE:
                break
            await between_looks()
    assert sum(one.waiting for one in leaves) == CHILDREN - AT_ONCE


async def test_a_tree_of_the_greatest_depth_ends_and_wakes_each_parent_once(
    team: MakeTeam, database: Database
) -> None:
    world, root = await _tree(team)
    assert (await world.until(root)).output == "level0."
    found = await _all(world)
    assert Counter(one.depth for one in found) == Counter([*range(DEPTH), *[DEPTH] * CHILDREN])
    assert {one.status for one in found} == {Status.COMPLETED}
    assert {one.segment for one in found if one.depth < DEPTH} == {2}
    (parent,) = [one for one in found if one.depth == DEPTH - 1]
    assert await world.results(parent.id) == ["So much."] * CHILDREN
    view = await world.executions.get(world.caller, root)
    assert view.spent.credits == (2 * DEPTH + CHILDREN) * COST
    ((charged,),) = database.rows("SELECT CAST(SUM(credits) AS BIGINT) FROM charges")
    assert view.spent.credits == charged


async def test_a_cancel_ends_a_tree_of_the_greatest_depth(team: MakeTeam) -> None:
    world, root = await _tree(team, asyncio.Event())
    await _until_running(world)
    async with asyncio.timeout(BOUND):
        await world.executions.cancel(world.caller, root)
        while any(one.status not in TERMINAL for one in await _all(world)):
            await between_looks()
    found = await _all(world)
    assert {one.status for one in found} == {Status.CANCELLED}
    began = [one for one in _leaves(found) if one.segment]
    assert len(began) == AT_ONCE, "none began meanwhile"


async def test_a_pause_stops_a_tree_of_the_greatest_depth_and_a_resume_continues_it(
    team: MakeTeam,
) -> None:
    gate = asyncio.Event()
    world, root = await _tree(team, gate)
    await _until_running(world)
    pausing = asyncio.create_task(world.executions.pause(world.caller, root))
    await world.until(root, Status.PAUSED)
    gate.set()
    async with asyncio.timeout(BOUND):
        await pausing
        while any(one.status is Status.RUNNING for one in await _all(world)):
            await between_looks()
    stopped = await _all(world)
    ended = sum(one.status is Status.COMPLETED for one in stopped)
    assert {one.status for one in stopped} <= {Status.PAUSED, Status.COMPLETED}
    assert ended <= AT_ONCE
    await world.executions.resume(world.caller, root)
    assert (await world.until(root)).output == "level0."
    assert {one.status for one in await _all(world)} == {Status.COMPLETED}
