"""A parent that cannot be read, newer or broken, holds up neither its child nor its own parent."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.model.execution import UNREADABLE, Status
from outlast.model.wait import Decision
from tests.support.databases import Database
from tests.support.models import Reply, by_turn
from tests.support.tools import FakeTools, call, tool
from tests.support.trees import CHILD, MakeTeam, Play, Team, agent, heard, make_team

pytestmark = pytest.mark.anyio
ROWS = {
    "newer": "UPDATE executions SET budget = '{\"max_moons\": 1}' WHERE id = ",
    "broken": "UPDATE executions SET budget = '[1]' WHERE id = ",
}


@pytest.fixture
async def team(database: Database) -> AsyncIterator[MakeTeam]:
    async with AsyncExitStack() as stack:
        yield make_team(database, stack)


def _calls(name: str, number: int) -> Play:
    def play(request: ModelRequest) -> Reply:
        given = heard(request)
        return [f"{name}: {given[0]}"] if given else [call(number, name, input="x")]

    return play


async def _asking(team: MakeTeam) -> tuple[Team, str, str, str]:
    """A root that waits for a child that waits for one that waits for a person."""
    world = await team(
        {
            "lead": _calls("middle", 1),
            "middle": _calls("worker", 2),
            "worker": by_turn([call(3, "pay")], ["Paid."]),
        },
        agent("lead", agent_tool("middle")),
        agent("middle", agent_tool("worker")),
        agent("worker", tool("pay", approval=True)),
        tools=FakeTools(middle=CHILD, worker=CHILD, pay=lambda _: "paid"),
    )
    root = await world.start()
    (middle,) = await world.below(root, 1)
    (worker,) = await world.below(middle.id, 1)
    for one in (worker.id, middle.id, root):
        await world.until(one, Status.SUSPENDED)
    return world, root, middle.id, worker.id


@pytest.mark.parametrize("broken", ROWS.values(), ids=ROWS)
async def test_a_parent_that_cannot_be_read_fails_when_its_child_ends(
    team: MakeTeam, database: Database, broken: str
) -> None:
    world, root, middle, worker = await _asking(team)
    database.rows(f"{broken}'{middle}'")
    decide = world.core.services.approvals.decide
    await decide(world.caller, worker, call(3, "pay").id, Decision(approved=True))
    assert (await world.until(worker)).output == "Paid."
    assert (await world.until(root)).output == f"middle: The agent failed: {UNREADABLE.message}"
    database.rows(f"UPDATE executions SET budget = '{{}}' WHERE id = '{middle}'")
    assert (await world.get(middle)).error == UNREADABLE


async def test_a_root_that_cannot_be_read_fails_when_its_child_is_cancelled(
    team: MakeTeam, database: Database
) -> None:
    world, root, middle, worker = await _asking(team)
    database.rows(f"{ROWS['broken']}'{root}'")
    await world.executions.cancel(world.caller, middle)
    assert (await world.until(worker)).status is Status.CANCELLED
    ((status,),) = database.rows(f"SELECT status FROM executions WHERE id = '{root}'")
    assert status == "failed"


@pytest.mark.parametrize("spec", ['{"of_the_future": 1}', "[]"])
async def test_a_parent_whose_agent_cannot_be_read_fails(
    team: MakeTeam, database: Database, spec: str
) -> None:
    world, root, middle, worker = await _asking(team)
    database.rows(f"UPDATE agent_versions SET spec = '{spec}' WHERE version = 1")
    world.core.services.agents.known._found.clear()
    decide = world.core.services.approvals.decide
    await decide(world.caller, worker, call(3, "pay").id, Decision(approved=True))
    for one in (worker, middle, root):
        assert (await world.until(one)).status is Status.FAILED
