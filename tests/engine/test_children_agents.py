"""What becomes of an agent while an execution of it, which another has called, lives."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.model.execution import Execution, Status
from outlast.model.message import ToolMessage
from outlast.model.wait import Decision
from tests.support.databases import Database
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, tool
from tests.support.trees import CHILD, MakeTeam, Play, Team, agent, make_team, team_on

pytestmark = pytest.mark.anyio
LEAD = agent("lead", agent_tool("worker"))
WORKER = agent("worker", tool("pay", approval=True))
NEXT = agent("worker", tool("pay", approval=True), description="The next one.")


@pytest.fixture
async def team(database: Database) -> AsyncIterator[MakeTeam]:
    async with AsyncExitStack() as stack:
        yield make_team(database, stack)


def _lead(request: ModelRequest) -> Reply:
    """Call the worker, and once it has answered call it again."""
    given = [one.content for one in request.messages if isinstance(one, ToolMessage)]
    calls = [call(n, "worker", input=str(n)) for n in (1, 2)]
    return [calls[len(given)]] if len(given) < 2 else [f"Then: {given[1]}"]


PLAYS: dict[str, Play | FakeModel] = {
    "lead": _lead,
    "worker": FakeModel(by_turn([call(3, "pay")], ["Paid."])),
}


def _tools() -> FakeTools:
    return FakeTools(worker=CHILD, pay=lambda _: "paid")


async def _asking(world: Team) -> tuple[str, Execution]:
    """A root, and its child that waits for a person."""
    root = await world.start()
    (child,) = await world.below(root, 1)
    await world.until(child.id, Status.SUSPENDED)
    await world.until(root, Status.SUSPENDED)
    return root, child


async def _approve(world: Team, execution_id: str) -> None:
    decide = world.core.services.approvals.decide
    await decide(world.caller, execution_id, call(3, "pay").id, Decision(approved=True))


async def _pause(world: Team, database: Database) -> str:
    database.rows("UPDATE agents SET paused = true WHERE name = 'worker'")
    world.core.services.agents.forget()
    return "The agent 'worker' is paused."


async def _remove(world: Team, _database: Database) -> str:
    retired = await world.core.services.agents.retire_unnamed(
        world.caller.workspace_id, [(LEAD, repr(LEAD))], "file", alone=True
    )
    assert retired == ["worker"]
    return "The agent 'worker' is retired."


Change = Callable[[Team, Database], Awaitable[str]]


@pytest.mark.parametrize("change", [_pause, _remove])
async def test_a_live_child_of_an_agent_that_is_paused_or_removed_runs_on_and_no_new_one_begins(
    team: MakeTeam, database: Database, change: Change
) -> None:
    world = await team(PLAYS, LEAD, WORKER, tools=_tools())
    root, child = await _asking(world)
    expected = await change(world, database)
    await _approve(world, child.id)
    assert (await world.until(child.id)).output == "Paid."
    ended = await world.until(root)
    assert (ended.output, ended.children) == (f"Then: {expected}", 1)


@pytest.mark.parametrize("change", [_pause, _remove])
async def test_a_live_child_outlasts_its_process_and_its_agent(
    database: Database, change: Change
) -> None:
    async with team_on(database, PLAYS, LEAD, WORKER, tools=_tools()) as world:
        root, child = await _asking(world)
        expected = await change(world, database)
        clock = world.clock
    async with team_on(database, PLAYS, LEAD, tools=_tools(), clock=clock) as world:
        await _approve(world, root)
        assert (await world.until(child.id)).output == "Paid."
        assert (await world.until(root)).output == f"Then: {expected}"


async def test_a_live_child_keeps_the_version_of_its_agent_and_a_new_one_has_the_newest(
    team: MakeTeam,
) -> None:
    world = await team(PLAYS, LEAD, WORKER, tools=_tools())
    root, first = await _asking(world)
    await world.core.services.agents.put(world.caller.workspace_id, [(NEXT, "2")])
    await _approve(world, first.id)
    assert (await world.until(first.id)).agent_version == 1
    _, second = await world.below(root, 2)
    assert second.agent_version == 2
    await world.until(second.id, Status.SUSPENDED)
    await _approve(world, second.id)
    assert (await world.until(root)).output == "Then: Paid."
