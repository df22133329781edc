"""Crash at every commit of a tree of executions."""

import asyncio
from typing import Any

import pytest

from outlast import agent_tool
from outlast.app import Core
from outlast.model.agent import AgentSpec, Effect
from outlast.model.execution import TERMINAL, Status, ToolStep
from outlast.model.wait import Decision
from outlast.model.workspace import Principal
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.page import Page
from outlast.store.waits.decide import DecideWait
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.crashes import MOVES, STEPS, Crash, no_crash
from tests.support.databases import Another, Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, tool
from tests.support.trees import CHILD, agent, said
from tests.support.waiting import BOUND, lives_until

pytestmark = pytest.mark.anyio

ONE, TWO, LOOK, PAY = call(1, "middle", input="a"), call(2, "other", input="b"), call(3, "look"), 4
AGENTS = (
    agent("lead", agent_tool("middle"), agent_tool("other"), tool("look")),
    agent("middle", agent_tool("other")),
    agent("other", tool("pay", Effect.DESTRUCTIVE, approval=True)),
)


def models() -> NamedModels:
    return NamedModels(
        {
            "lead": FakeModel(by_turn(["Let me.", ONE, TWO, LOOK], ["So."])),
            "middle": FakeModel(by_turn([call(5, "other", input="c")], ["Middle."])),
            "other": FakeModel(
                lambda request: by_turn(
                    [call(10 + ord(said(request)), "pay")], [f"Paid {said(request)}."]
                )(request)
            ),
        }
    )


def tools() -> FakeTools:
    return FakeTools(middle=CHILD, other=CHILD, look=lambda _: "seen", pay=lambda _: "paid")


async def lead_to_its_end(
    core: Core, caller: Principal, root: str, clock: FakeClock, committed: asyncio.Event
) -> None:
    """Be the person who decides in every execution, until the root has ended."""
    workspace_id = caller.workspace_id
    while True:
        committed.clear()
        page = await core.store.executions.page(workspace_id, ExecutionFilter(), Page(50))
        if any(one.id == root and one.status in TERMINAL for one in page):
            return
        waits = await core.store.waits.of_each(workspace_id, [one.id for one in page])
        for one in (wait for found in waits.values() for wait in found):
            if one.is_open and one.is_approval:
                request = DecideWait(
                    workspace_id,
                    one.execution_id,
                    one.tool_call_id,
                    clock.now(),
                    Decision(approved=True),
                    "key_1",
                )
                await core.store.waits.decide(request)
        await committed.wait()


async def until_crash(database: Database, crash: Crash) -> tuple[Principal, str, bool]:
    """Run until the crash or to the end; whether it crashed."""
    clock = FakeClock()
    async with database.core(
        models=models(), tools=tools(), clock=clock, store=crash.store
    ) as core:
        caller = await owner(core)
        specs: list[tuple[AgentSpec, str]] = [(one, "1") for one in AGENTS]
        await core.services.agents.put(caller.workspace_id, specs)
        started = await core.services.executions.start(caller, "lead", start_request())
        root = started.execution.id
        running = lead_to_its_end(core, caller, root, clock, crash.committed)
        return caller, root, await lives_until(crash.happened, running)


@pytest.mark.parametrize("commits_last", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_commit_of_a_tree_reaches_the_same_end(
    another_database: Another, commits_last: bool
) -> None:
    for writes in range(int(commits_last), 100, 2):  # each commit is met, half of them by each
        database = another_database()
        crash = Crash(writes, commits_last=commits_last, transactions=STEPS | MOVES)
        caller, root, crashed = await until_crash(database, crash)
        clock, later = FakeClock(), no_crash()
        clock.advance(60)  # ids come from the clock
        async with (
            asyncio.timeout(BOUND),
            database.core(models=models(), tools=tools(), clock=clock, store=later.store) as core,
        ):
            await lead_to_its_end(core, caller, root, clock, later.committed)
            found = await core.store.executions.page(
                caller.workspace_id, ExecutionFilter(), Page(50)
            )
            gave: dict[str, Any] = {}
            for one in found:
                for step in await core.store.executions.steps(caller.workspace_id, one.id):
                    if isinstance(step, ToolStep) and one.id == root:
                        gave[step.call.id] = step.result
        assert {one.status for one in found} == {Status.COMPLETED}, writes
        by_input = sorted((one.input, one.depth, one.children, one.output) for one in found)
        assert by_input == [
            ("Hello", 0, 2, "So."),
            ("a", 1, 1, "Middle."),
            ("b", 1, 0, "Paid b."),
            ("c", 2, 0, "Paid c."),
        ], writes
        assert gave == {ONE.id: "Middle.", TWO.id: "Paid b.", LOOK.id: "seen"}, writes
        assert {one.usage.total_tokens for one in found} == {30}, "no request is charged twice"
        if not crashed:
            assert writes > 20
            return
    pytest.fail("no tree came to its end without a crash")
