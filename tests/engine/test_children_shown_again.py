"""A resumed root's log shows again what stands below it, for its resume has voided it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count

import pytest
from structlog.testing import capture_logs

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.model.agent import Effect
from outlast.model.event import (
    ApprovalRequested,
    ApprovalResolved,
    ChildStarted,
    ExecutionResumed,
    ExecutionSuspended,
    ToolStarted,
)
from outlast.model.execution import Execution, Status
from outlast.model.wait import Awaiting, Decision
from tests.support.databases import Database
from tests.support.models import Reply
from tests.support.state_machine.reading import Reading
from tests.support.tools import FakeTools, call, tool
from tests.support.trees import CHILD, MakeTeam, Play, Team, agent, heard, make_team
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio

PAY = tool("pay", Effect.DESTRUCTIVE, approval=True)
REQUESTED = call(3, "pay").id
YES = Decision(approved=True)


@pytest.fixture
async def team(database: Database) -> AsyncIterator[MakeTeam]:
    async with AsyncExitStack() as stack:
        yield make_team(database, stack)


def _calls(number: int, *names: str) -> Play:
    def play(request: ModelRequest) -> Reply:
        given = heard(request)
        if given:
            return [", ".join(map(str, given))]
        return [call(number + n, name, input="x") for n, name in enumerate(names)]

    return play


async def _tree(
    team: MakeTeam, lead: tuple[str, ...] = ("middle",), worker: tuple[str, ...] = ("pay",)
) -> tuple[Team, list[Execution], asyncio.Event]:
    """A root, its child, and that one's child, whose approval the root's log has.

    What these call `look` waits for the event.
    """
    gate = asyncio.Event()
    numbers = count(10)

    def middle(request: ModelRequest) -> Reply:
        match heard(request):
            case []:
                return [call(9, "note")]
            case ["noted"]:
                return [call(next(numbers), "worker", input="x")]
            case given:
                return [str(given[0])]

    world = await team(
        {"lead": _calls(1, *lead), "middle": middle, "worker": _calls(3, *worker)},
        agent("lead", agent_tool("middle"), tool("note")),
        agent("middle", agent_tool("worker"), tool("note")),
        agent("worker", PAY, tool("look")),
        tools=FakeTools(
            middle=CHILD,
            worker=CHILD,
            pay=lambda _: "paid",
            look=lambda _: gate.wait(),
            note=lambda _: "noted",
        ),
    )
    root = await world.start()
    async with asyncio.timeout(BOUND):
        while REQUESTED not in (await _read(world, root)).below:
            await asyncio.to_thread(int)
    return world, (await world.all())[:3], gate


async def _read(world: Team, root: str) -> Reading:
    """What whoever follows the root's log has of it."""
    reading = Reading()
    for entry in await world.log(root):
        reading.add(entry.event)
    return reading


async def test_an_approval_below_stands_in_the_log_of_a_root_that_was_paused(
    team: MakeTeam,
) -> None:
    world, (root, middle, worker), _ = await _tree(team)
    await world.executions.pause(world.caller, root.id)
    with capture_logs() as lines:
        await world.executions.resume(world.caller, root.id)
    again = [line["agent"] for line in lines if line["event"] == "approval.requested"]
    assert again == ["worker"], "whose request it is"
    log = [entry.event for entry in await world.log(root.id)]
    resumed = next(n for n, event in enumerate(log) if isinstance(event, ExecutionResumed))
    started, child, requested, suspended = log[resumed + 1 :]
    assert isinstance(started, ToolStarted)
    assert child == ChildStarted(2, started.tool_call_id, middle.id, "middle")
    assert isinstance(requested, ApprovalRequested)
    assert (requested.tool_call_id, requested.execution_id) == (REQUESTED, worker.id)
    assert suspended == ExecutionSuspended(Awaiting.PERSON)
    assert len([event for event in log if isinstance(event, ApprovalRequested)]) == 2
    await world.core.services.approvals.decide(world.caller, root.id, REQUESTED, YES)
    assert (await world.until(root.id)).output == "paid"
    assert not (await _read(world, root.id)).below


async def test_the_approval_of_a_child_that_stays_paused_stands_in_the_log_of_its_root(
    team: MakeTeam,
) -> None:
    world, (root, _, worker), _ = await _tree(team)
    await world.executions.pause(world.caller, worker.id)
    await world.executions.pause(world.caller, root.id)
    await world.executions.resume(world.caller, root.id)
    assert (await world.get(worker.id)).status is Status.PAUSED
    assert REQUESTED in (await _read(world, root.id)).below
    await world.core.services.approvals.decide(world.caller, root.id, REQUESTED, YES)
    await world.executions.resume(world.caller, worker.id)
    assert (await world.until(root.id)).output == "paid"
    assert not (await _read(world, root.id)).below


async def test_the_approval_of_a_child_that_runs_on_stands_in_the_log_of_its_root(
    team: MakeTeam,
) -> None:
    world, (root, _, worker), gate = await _tree(team, worker=("pay", "look"))
    pausing = asyncio.create_task(world.executions.pause(world.caller, root.id))
    await world.until(root.id, Status.PAUSED)
    await world.executions.resume(world.caller, root.id)
    assert (await world.get(worker.id)).status is Status.RUNNING
    assert REQUESTED in (await _read(world, root.id)).below
    gate.set()
    async with asyncio.timeout(BOUND):
        await pausing
    await world.core.services.approvals.decide(world.caller, root.id, REQUESTED, YES)
    await world.until(root.id)
    assert not (await _read(world, root.id)).below


async def test_an_approval_below_a_call_that_a_roll_back_keeps_stands_with_its_new_step(
    team: MakeTeam,
) -> None:
    world, (root, *_), _ = await _tree(team, lead=("middle", "note"))
    await world.executions.pause(world.caller, root.id)
    first, *_ = await world.executions.checkpoints(world.caller, root.id)
    await world.executions.resume(world.caller, root.id, first.id)
    await world.until(root.id, Status.SUSPENDED)
    reading = await _read(world, root.id)
    (child,) = reading.children.values()
    assert reading.below[REQUESTED].step == child.step > 3
    await world.core.services.approvals.decide(world.caller, root.id, REQUESTED, YES)
    assert (await world.until(root.id)).output == "paid, noted"
    assert not (await _read(world, root.id)).below


async def test_an_approval_of_what_still_runs_behind_a_roll_back_is_withdrawn_once(
    team: MakeTeam,
) -> None:
    world, (root, middle, worker), gate = await _tree(team, worker=("pay", "look"))
    pausing = asyncio.create_task(world.executions.pause(world.caller, middle.id))
    await world.until(middle.id, Status.PAUSED)
    _, noted, *_ = await world.executions.checkpoints(world.caller, middle.id)
    await world.executions.resume(world.caller, middle.id, noted.id)
    assert await _decided(world, root, worker) == [False]
    gate.set()
    async with asyncio.timeout(BOUND):
        await pausing
    await world.until(worker.id, Status.CANCELLED)
    (again,) = [one for one in await world.below(middle.id, 2) if one.id != worker.id]
    await world.until(again.id, Status.SUSPENDED)
    assert await _decided(world, root, worker) == [False]
    assert (await _read(world, root.id)).below[REQUESTED].execution_id == again.id
    await world.core.services.approvals.decide(world.caller, again.id, REQUESTED, YES)
    await world.until(root.id)
    assert await _decided(world, root, again) == [True]


async def _decided(world: Team, root: Execution, below: Execution) -> list[bool]:
    """What the root's log says was decided on the approvals of one below."""
    events = [entry.event for entry in await world.log(root.id)]
    resolved = [event for event in events if isinstance(event, ApprovalResolved)]
    return [event.approved for event in resolved if event.execution_id == below.id]
