"""Agents that call other agents: child executions, from their call to their result."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from outlast import Context, ToolFailed, agent_tool
from outlast.agents.code import CodeFunctions
from outlast.model.error import ModelRejected
from outlast.model.execution import Budget, Status
from outlast.model.memory import Access, MemoryAccess
from outlast.model.wait import Awaiting, Decision
from tests.support.databases import SQLITE, Database
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, tool
from tests.support.trees import CHILD, MakeTeam, agent, heard, make_team, said

pytestmark = pytest.mark.anyio

LEAD = agent("lead", agent_tool("researcher"))
RESEARCHER = agent("researcher")


@pytest.fixture
async def team(database: Database) -> AsyncIterator[MakeTeam]:
    async with AsyncExitStack() as stack:
        yield make_team(database, stack)


async def test_a_child_runs_its_agent_and_its_output_is_the_result_of_the_call(
    team: MakeTeam,
) -> None:
    world = await team(
        {
            "lead": lambda request: (
                [f"I know: {heard(request)[0]}"]
                if heard(request)
                else [call(1, "researcher", input="What is it?")]
            ),
            "researcher": lambda request: [f"The answer to {said(request)}"],
        },
        LEAD,
        RESEARCHER,
    )
    root = await world.start(
        metadata={"case": "7"},
        session={"name": "Ada"},
        user="ada",
        forwarded_headers={"X-A": "b"},
        memory_stores=(MemoryAccess(await world.memory_store(), Access.READ_ONLY),),
    )
    ended = await world.until(root)
    assert (ended.status, ended.output) == (
        Status.COMPLETED,
        "I know: The answer to What is it?",
    )
    (child,) = await world.below(root, 1)
    assert child.status is Status.COMPLETED
    assert child.input == "What is it?"
    assert child.memory_stores == ended.memory_stores != ()
    assert (child.root_id, child.depth, child.tool_call_id) == (root, 1, call(1, "x").id)
    assert (child.metadata, child.session, child.user) == ({"case": "7"}, {"name": "Ada"}, "ada")
    assert child.conversation_id != ended.conversation_id
    assert child.key_id == ended.key_id
    assert (ended.children, ended.depth, ended.root_id, ended.tree) == (1, 0, None, root)
    assert ended.usage.total_tokens == 30, "its own two requests"


@pytest.mark.only(SQLITE)
async def test_forwarded_headers_reach_the_tools_of_what_is_called(team: MakeTeam) -> None:
    tools = FakeTools(researcher=CHILD, look=lambda _: "seen")
    world = await team(
        {
            "lead": by_turn([call(1, "researcher", input="x")], ["Done."]),
            "researcher": by_turn([call(2, "look")], ["Seen."]),
        },
        LEAD,
        agent("researcher", tool("look")),
        tools=tools,
    )
    root = await world.start(forwarded_headers={"X-Tenant": "acme"})
    assert (await world.until(root)).output == "Done."
    (child,) = await world.below(root, 1)
    assert tools.context is not None
    assert (tools.context.execution_id, tools.context.headers) == (child.id, {"X-Tenant": "acme"})


async def test_a_parent_that_waits_for_a_child_is_a_row_that_shows_as_running(
    team: MakeTeam,
) -> None:
    gate = asyncio.Event()
    world = await team(
        {
            "lead": by_turn([call(1, "researcher", input="x")], ["Done."]),
            "researcher": lambda _: ["Wait", gate, "ed."],
        },
        LEAD,
        RESEARCHER,
    )
    root = await world.start()
    waiting = await world.until(root, Status.SUSPENDED)
    assert waiting.awaiting is Awaiting.CHILD
    assert waiting.shown_status is Status.RUNNING
    (child,) = await world.below(root, 1)
    await world.until(child.id, Status.RUNNING)
    assert world.core.engine.running == 1
    gate.set()
    assert (await world.until(root)).output == "Done."
    assert await world.results(root) == ["Waited."]


async def test_a_child_that_fails_is_an_error_that_the_model_reads(team: MakeTeam) -> None:
    world = await team(
        {
            "lead": by_turn([call(1, "researcher", input="x")], ["Without it."]),
            "researcher": lambda _: [ModelRejected("No such model.")],
        },
        LEAD,
        RESEARCHER,
    )
    root = await world.start()
    assert (await world.until(root)).output == "Without it."
    assert await world.results(root) == ["The agent failed: No such model."]
    (child,) = await world.below(root, 1)
    assert child.status is Status.FAILED


async def test_an_agent_that_is_paused_or_unknown_is_an_error_that_the_model_reads(
    team: MakeTeam, database: Database
) -> None:
    lead = agent("lead", agent_tool("researcher"), agent_tool("ghost"))
    calls = [call(1, "researcher", input="x"), call(2, "ghost", input="y")]
    world = await team(
        {"lead": by_turn(calls, ["Alone."]), "researcher": lambda _: ["."]},
        lead,
        RESEARCHER,
    )
    database.rows("UPDATE agents SET paused = true WHERE name = 'researcher'")
    root = await world.start()
    ended = await world.until(root)
    assert (ended.output, ended.children) == ("Alone.", 0)
    assert await world.results(root) == [
        "The agent 'researcher' is paused.",
        "There is no agent 'ghost'.",
    ]


async def test_a_tool_beside_a_child_runs_at_once_and_both_results_are_read(
    team: MakeTeam,
) -> None:
    gate = asyncio.Event()
    lead = agent("lead", agent_tool("researcher"), tool("look"))
    tools = FakeTools(researcher=CHILD, look=lambda _: gate.wait())
    calls = [call(1, "researcher", input="x"), call(2, "look")]
    world = await team(
        {"lead": by_turn(calls, ["Done."]), "researcher": lambda _: ["Found."]},
        lead,
        RESEARCHER,
        tools=tools,
    )
    root = await world.start()
    (child,) = await world.below(root, 1)
    await world.until(child.id)
    assert (await world.get(root)).status is Status.RUNNING, "the other tool still runs"
    gate.set()
    assert (await world.until(root)).output == "Done."
    assert sorted(map(str, await world.results(root))) == ["Found.", "True"]


async def test_a_call_is_approved_before_the_agent_is_called(team: MakeTeam) -> None:
    lead = agent("lead", replace(agent_tool("researcher"), approval=True))
    world = await team(
        {
            "lead": by_turn([call(1, "researcher", input="x")], ["Done."]),
            "researcher": lambda request: [f"Looked for {said(request)}."],
        },
        lead,
        RESEARCHER,
    )
    root = await world.start()
    waiting = await world.until(root, Status.SUSPENDED)
    assert waiting.awaiting is Awaiting.PERSON
    assert waiting.children == 0
    approvals = world.core.services.approvals
    decision = Decision(approved=True, parameters={"input": "y"})
    await approvals.decide(world.caller, root, call(1, "x").id, decision)
    assert (await world.until(root)).output == "Done."
    assert await world.results(root) == ["Looked for y."]


async def test_the_tools_limits_bound_each_call(team: MakeTeam) -> None:
    lead = agent("lead", agent_tool("researcher", max_steps=1, max_tokens=500))
    researcher = agent("researcher", tool("look"))
    tools = FakeTools(researcher=CHILD, look=lambda _: "seen")
    world = await team(
        {
            "lead": by_turn([call(1, "researcher", input="x")], ["Done."]),
            "researcher": by_turn([call(2, "look")], ["Found."]),
        },
        lead,
        researcher,
        tools=tools,
    )
    root = await world.start()
    await world.until(root)
    (child,) = await world.below(root, 1)
    assert child.budget == Budget(max_steps=1, max_tokens=500)
    assert child.error is not None
    assert child.error.code == "budget_exceeded"


@pytest.mark.only(SQLITE)
async def test_the_tools_limits_bound_the_input_of_a_call_whatever_the_tree_has_left(
    team: MakeTeam,
) -> None:
    lead = agent("lead", agent_tool("researcher", max_tokens=500))
    researcher = FakeModel(by_turn(["Found."]))
    world = await team(
        {
            "lead": by_turn([call(1, "researcher", input="x" * 2000)], ["Alone."]),
            "researcher": researcher,
        },
        lead,
        RESEARCHER,
    )
    root = await world.start(budget=Budget(max_tokens=10**6))
    assert (await world.until(root)).output == "Alone."
    (child,) = await world.below(root, 1)
    assert child.error is not None
    assert child.error.message.startswith("The budget of 500 tokens is spent (0 used). The next")
    assert researcher.requests == []


async def test_an_agent_that_calls_itself_ends_at_the_deepest_level(team: MakeTeam) -> None:
    model = FakeModel(
        lambda request: (
            [f"({heard(request)[0]})"] if heard(request) else [call(1, "lead", input="deeper")]
        )
    )
    world = await team({"lead": model}, agent("lead", agent_tool("lead")))
    root = await world.start()
    ended = await world.until(root)
    assert ended.output == "((((((Agents call each other 5 levels deep at most.))))))"
    found = await world.all()
    assert [one.depth for one in found] == [0, 1, 2, 3, 4, 5]
    assert {one.tree for one in found} == {root}


async def test_a_long_output_is_cut_for_the_parent_and_whole_in_the_child(
    team: MakeTeam,
) -> None:
    world = await team(
        {
            "lead": by_turn([call(1, "researcher", input="x")], ["Done."]),
            "researcher": lambda _: ["é" * 200_000],
        },
        LEAD,
        RESEARCHER,
    )
    root = await world.start()
    await world.until(root)
    (result,) = await world.results(root)
    assert len(result.encode()) <= 262_144
    assert result.endswith("… (cut: 400000 bytes in all)")
    (child,) = await world.below(root, 1)
    assert child.output == "é" * 200_000


async def test_a_pinned_version_is_the_one_that_runs(team: MakeTeam) -> None:
    lead = agent("lead", agent_tool("researcher", version=1), agent_tool("researcher", name="new"))
    calls = [call(1, "researcher", input="x"), call(2, "new", input="x")]
    world = await team(
        {
            "lead": by_turn(calls, ["Done."]),
            "researcher": lambda request: [request.instructions.splitlines()[0]],
        },
        lead,
        RESEARCHER,
    )
    newer = replace(RESEARCHER, instructions="Be quick.")
    await world.core.services.agents.put(world.caller.workspace_id, [(newer, "2")])
    root = await world.start()
    await world.until(root)
    assert sorted(await world.results(root)) == ["Be kind.", "Be quick."]


async def test_only_twenty_children_of_one_parent_run_at_a_time(team: MakeTeam) -> None:
    gate = asyncio.Event()
    calls = [call(n, "researcher", input=str(n)) for n in range(1, 51)]
    researcher = FakeModel(lambda request: [gate, said(request)])
    world = await team(
        {"lead": by_turn(calls, ["Done."]), "researcher": researcher},
        replace(LEAD, limits=replace(LEAD.limits, max_steps=100)),
        RESEARCHER,
        concurrency=64,
    )
    root = await world.start()
    children = await world.below(root, 50)
    assert [one.waiting for one in children].count(True) == 30
    for child in children[:20]:
        await world.until(child.id, Status.RUNNING)
    assert len(researcher.requests) <= 20
    await world.executions.cancel(world.caller, children[49].id)
    left = await world.below(root, 50)
    assert [one.waiting for one in left].count(True) == 29, "none takes a place that was not free"
    gate.set()
    ended = await world.until(root)
    assert (ended.output, ended.children) == ("Done.", 50)
    gave = await world.results(root)
    assert gave == [*(str(n) for n in range(1, 50)), "The agent's execution was cancelled."]


async def test_a_hundred_children_wake_their_parent_once(team: MakeTeam) -> None:
    calls = [call(n, "researcher", input=str(n)) for n in range(1, 102)]
    lead = FakeModel(by_turn(calls, ["Done."]))
    world = await team(
        {"lead": lead, "researcher": lambda request: [said(request)]},
        replace(LEAD, limits=replace(LEAD.limits, max_steps=200)),
        RESEARCHER,
        concurrency=64,
    )
    root = await world.start()
    ended = await world.until(root)
    assert (ended.output, ended.children, ended.segment) == ("Done.", 100, 2)
    assert len(lead.requests) == 2
    results = await world.results(root)
    assert results[:100] == [str(n) for n in range(1, 101)]
    assert results[100] == "One execution calls 100 agents at most."


async def test_a_code_agent_calls_agents_and_is_a_row_meanwhile(team: MakeTeam) -> None:
    starts: list[str] = []

    async def loop(ctx: Context, text: str) -> str:
        starts.append(text)
        first = await ctx.agent("researcher", f"{text} one")
        second = await ctx.tool("look_up", input=f"{text} two")
        try:
            await ctx.agent("broken", "three")
        except ToolFailed as error:
            return f"{first} {second} {error.message}"
        return "never"

    lead = agent("lead", agent_tool("researcher", name="look_up"), agent_tool("broken"), code="c:l")
    world = await team(
        {
            "lead": lambda _: ["Unused."],
            "researcher": lambda request: [f"[{said(request)}]"],
            "broken": lambda _: [ModelRejected("No such model.")],
        },
        lead,
        RESEARCHER,
        agent("broken"),
        code=CodeFunctions({"c:l": loop}),
    )
    root = await world.start()
    ended = await world.until(root)
    assert ended.output == "[Go one] [Go two] The agent failed: No such model."
    assert (ended.children, ended.segment) == (3, 4)
    assert starts == ["Go"] * 4, "it starts again after each, and calls none twice"
    assert [one.input for one in await world.below(root, 3)] == ["Go one", "Go two", "three"]
