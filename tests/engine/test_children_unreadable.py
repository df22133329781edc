"""What cannot be read, newer or broken, holds up neither its child nor its parent nor its root."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.model.execution import OUR_MISTAKE, UNREADABLE, Status
from outlast.model.wait import Decision
from outlast.store.executions.values import ForcedFailure
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


MENDED = "UPDATE executions SET budget = '{}' WHERE id = "
BELOW = pytest.mark.parametrize("which", [0, 1], ids=["middle", "worker"])


async def _unread(
    team: MakeTeam, database: Database, broken: str, which: int
) -> tuple[Team, str, tuple[str, str], str]:
    """A tree in which one of the two below the root cannot be read; its id comes last."""
    world, root, *below = await _asking(team)
    database.rows(f"{broken}'{below[which]}'")
    return world, root, (below[0], below[1]), below[which]


async def _status(database: Database, execution_id: str) -> str:
    ((status,),) = database.rows(f"SELECT status FROM executions WHERE id = '{execution_id}'")
    return str(status)


@BELOW
@pytest.mark.parametrize("broken", ROWS.values(), ids=ROWS)
async def test_a_tree_with_a_child_that_cannot_be_read_is_cancelled(
    team: MakeTeam, database: Database, broken: str, which: int
) -> None:
    world, root, below, unread = await _unread(team, database, broken, which)
    await world.executions.cancel(world.caller, root)
    assert (await world.until(root)).status is Status.CANCELLED
    statuses = [await _status(database, one) for one in below]
    assert statuses == ["failed" if one == unread else "cancelled" for one in below]
    view = await world.executions.get(world.caller, root)
    assert not view.approvals
    database.rows(f"{MENDED}'{unread}'")
    assert (await world.get(unread)).error == UNREADABLE


@BELOW
async def test_a_tree_with_a_child_that_cannot_be_read_is_paused_and_resumed(
    team: MakeTeam, database: Database, which: int
) -> None:
    world, root, _, unread = await _unread(team, database, ROWS["broken"], which)
    await world.executions.pause(world.caller, root)
    assert (await world.get(root)).status is Status.PAUSED
    assert await _status(database, unread) == "suspended", "it fails once it is to continue"
    await world.executions.resume(world.caller, root)
    assert (await world.get(root)).status is Status.SUSPENDED
    assert await _status(database, unread) == "suspended"
    await world.executions.cancel(world.caller, root)
    assert await _status(database, unread) == "failed"


@BELOW
async def test_what_a_pause_has_stopped_and_cannot_be_read_fails_when_its_root_is_resumed(
    team: MakeTeam, database: Database, which: int
) -> None:
    world, root, *below = await _asking(team)
    await world.executions.pause(world.caller, root)
    database.rows(f"{ROWS['newer']}'{below[which]}'")
    await world.executions.resume(world.caller, root)
    ended = await world.until(root)
    assert ended.status is Status.COMPLETED
    assert UNREADABLE.message in (ended.output or "")
    assert await _status(database, below[which]) == "failed"


@BELOW
async def test_a_tree_with_a_child_that_cannot_be_read_is_rolled_back(
    team: MakeTeam, database: Database, which: int
) -> None:
    world, root, _, unread = await _unread(team, database, ROWS["newer"], which)
    await world.executions.pause(world.caller, root)
    first = "DELETE FROM checkpoints WHERE execution_id = "
    database.rows(f"{first}'{root}'")  # so that it begins anew
    await world.executions.resume(world.caller, root)
    assert await _status(database, unread) == "failed"
    database.rows(f"{MENDED}'{unread}'")
    _, again = await world.below(root, 2)
    await world.until(again.id, Status.SUSPENDED)
    await world.until(root, Status.SUSPENDED)


@BELOW
async def test_a_tree_with_a_child_that_cannot_be_read_is_deleted(
    team: MakeTeam, database: Database, which: int
) -> None:
    world, root, _, _ = await _unread(team, database, ROWS["broken"], which)
    await world.executions.delete(world.caller, root)
    for table in ("executions", "waits", "events"):
        assert database.rows(f"SELECT * FROM {table}") == []


@BELOW
async def test_a_tree_with_a_child_that_cannot_be_read_fails_with_its_root(
    team: MakeTeam, database: Database, which: int
) -> None:
    world, root, below, _ = await _unread(team, database, ROWS["newer"], which)
    failure = ForcedFailure(
        world.caller.workspace_id, root, world.clock.now(), OUR_MISTAKE, resting=True
    )
    assert await world.store.executions.force_failure(failure)
    assert (await world.get(root)).status is Status.FAILED
    for one in below:
        assert await _status(database, one) in ("failed", "cancelled")
