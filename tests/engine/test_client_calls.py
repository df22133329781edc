"""Calls that the client runs: beside other waits, below a root, in code agents, over roll-backs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from outlast import Context, agent_tool, client_tool
from outlast.agents.code import CodeFunctions
from outlast.agents.define import agent as code_agent
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.client_call import (
    ClientCallAnswered,
    ClientCallNotFound,
    ClientCallRequested,
    ClientTool,
)
from outlast.model.error import Conflict, InvalidField
from outlast.model.event import ToolFinished
from outlast.model.execution import Status
from outlast.model.wait import Awaiting, CallResult
from outlast.rooms.runs.stream.frames import NumberedFrames
from outlast.rooms.runs.stream.ui import UiFold
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import EngineHarness, MakeEngine
from tests.support.models import FakeModel, by_turn
from tests.support.tools import call, spec
from tests.support.trees import MakeTeam, Team, agent, make_team
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio
LOCATE = ClientTool("locate", "Where?", {"type": "object"}, 60)
OPEN = call(3, "open")


@pytest.fixture
async def team(database: Database) -> AsyncIterator[MakeTeam]:
    async with AsyncExitStack() as stack:
        yield make_team(database, stack)


async def waiting_below(team: MakeTeam) -> tuple[Team, list[str]]:
    """A root whose child's child awaits the client."""
    world = await team(
        {
            "lead": by_turn([call(1, "middle", input="x")], ["Lead."]),
            "middle": by_turn([call(2, "worker", input="x")], ["Middle."]),
            "worker": by_turn([OPEN], ["Worker."]),
        },
        agent("lead", agent_tool("middle")),
        agent("middle", agent_tool("worker")),
        agent("worker", client_tool("open")),
        tools=ToolBox(FakeClock()),
    )
    root = await world.start()
    async with asyncio.timeout(BOUND):
        while (await world.get(root)).awaiting is not Awaiting.CLIENT:
            await between_looks()
    return world, [one.id for one in await world.all()]


@pytest.mark.parametrize("at", [0, 1, 2], ids=["root", "middle", "itself"])
async def test_a_childs_call_is_shown_and_answered_at_any_execution_above(
    team: MakeTeam, at: int
) -> None:
    world, tree = await waiting_below(team)
    for one in tree:
        view = await world.executions.get(world.caller, one)
        assert view.execution.shown_status is Status.SUSPENDED
        assert [(wait.execution_id, wait.name) for wait in view.client_calls] == [(tree[2], "open")]
    calls = world.core.services.client_calls
    with pytest.raises(ClientCallNotFound):
        await calls.answer(world.caller, tree[at], call(1, "").id, CallResult(1))
    for _ in range(2):
        given = await calls.answer(world.caller, tree[at], OPEN.id, CallResult("opened"))
        assert given.execution_id == tree[2]
    assert (await world.until(tree[0])).output == "Lead."
    assert await world.results(tree[2]) == ["opened"]
    for one in tree:
        log = [entry.event for entry in await world.log(one)]
        of = [e for e in log if isinstance(e, ClientCallRequested | ClientCallAnswered)]
        whose = {tree[0]: [tree[2]] * 2, tree[1]: [], tree[2]: [None] * 2}[one]
        assert [event.execution_id for event in of] == whose
    shown = [entry.event for entry in await world.log(tree[0])]
    ends = [e for e in shown if isinstance(e, ToolFinished) and e.execution_id]
    assert [(e.tool_call_id, e.result) for e in ends] == [(OPEN.id, "opened")]


async def test_a_childs_call_that_needs_no_result_any_more_ends_in_the_roots_stream(
    team: MakeTeam,
) -> None:
    world, (root, middle, worker) = await waiting_below(team)
    await world.executions.cancel(world.caller, middle)
    await world.until(root)
    log = await world.log(root)
    (gone,) = [e.event for e in log if isinstance(e.event, ClientCallAnswered)]
    assert (gone.is_error, gone.execution_id, gone.decided_by) == (True, worker, None)
    frames = b"".join(NumberedFrames(UiFold(root)).add(log))
    assert b'"type":"tool-output-error","toolCallId":"' + OPEN.id.encode() in frames
    with pytest.raises(Conflict):
        await world.core.services.client_calls.answer(
            world.caller, root, OPEN.id, CallResult("late")
        )


async def test_a_child_has_no_tools_that_the_request_declared(team: MakeTeam) -> None:
    world = await team(
        {
            "lead": by_turn([call(1, "worker", input="x")], ["Lead."]),
            "worker": by_turn([call(2, "locate")], ["Worker."]),
        },
        agent("lead", agent_tool("worker")),
        agent("worker"),
        tools=ToolBox(FakeClock()),
    )
    root = await world.start(client_tools=(LOCATE,))
    assert (await world.until(root)).status is Status.COMPLETED
    (child,) = await world.below(root, 1)
    (refused,) = await world.results(child.id)
    assert "There is no tool 'locate'" in refused


@pytest.fixture
async def coded(database: Database) -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as stack:

        async def made(function: Any) -> EngineHarness:
            found, clock = code_agent(model="actor", name="agent")(function).spec, FakeClock()
            model = FakeModel(by_turn(["Hello."]))
            core = database.core(
                models=NamedModels({"actor": model}),
                tools=ToolBox(clock),
                clock=clock,
                code=CodeFunctions({str(found.code): function}),
            )
            opened = await stack.enter_async_context(core)
            caller = await owner(opened)
            await opened.services.agents.put(caller.workspace_id, [(found, "1")])
            return EngineHarness(opened, caller, model, clock)

        yield made


async def test_a_code_agent_calls_a_tool_of_the_client(coded: Any) -> None:
    async def finder(ctx: Context, _given: str) -> str:
        place = await ctx.tool("locate", precise=True)
        return f"You are at {place['city']}."

    server = await coded(finder)
    view = await server.run(client_tools=(LOCATE,))
    (wait,) = view.client_calls
    assert (view.execution.status, wait.parameters) == (Status.SUSPENDED, {"precise": True})
    await server.core.services.client_calls.answer(
        server.caller, view.execution.id, wait.tool_call_id, CallResult({"city": "Rome"})
    )
    ended = await server.rest(view.execution.id)
    assert (ended.execution.status, ended.execution.output) == (
        Status.COMPLETED,
        "You are at Rome.",
    )


async def test_a_roll_back_behind_the_model_s_answer_asks_the_client_again(
    make_engine: MakeEngine,
) -> None:
    model = FakeModel(by_turn([call(1, "locate")], ["I see."]))
    server = await make_engine(model, spec(), ToolBox(FakeClock()))
    run = (await server.run(client_tools=(LOCATE,))).execution.id
    calls = server.core.services.client_calls
    await calls.answer(server.caller, run, call(1, "").id, CallResult("Rome"))
    assert (await server.rest(run)).execution.output == "I see."
    first, *_ = await server.executions.checkpoints(server.caller, run)
    resumed = await server.executions.resume(server.caller, run, first.id)
    assert resumed.execution.awaiting is Awaiting.CLIENT
    with pytest.raises(InvalidField):
        await calls.answer(server.caller, run, call(1, "").id, CallResult("x" * 300_000))
    await calls.answer(server.caller, run, call(1, "").id, CallResult("Bonn"))
    assert (await server.rest(run)).execution.status is Status.COMPLETED
    log = [entry.event for entry in await server.log(run)]
    assert len([e for e in log if isinstance(e, ClientCallRequested)]) == 2
    assert [e.result for e in log if isinstance(e, ToolFinished)] == ["Rome", "Bonn"]
