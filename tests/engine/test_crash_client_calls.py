"""Crash at every commit of a run whose client runs calls, its own and those of a child."""

import asyncio
from dataclasses import replace

import pytest

from outlast import agent_tool, client_tool
from outlast.agents.tools.builtin import builtin_spec
from outlast.agents.tools.toolbox import ToolBox
from outlast.app import Core
from outlast.engine.maintenance.due_waits import DUE_WAITS
from outlast.model.agent import AgentSpec
from outlast.model.client_call import ClientCallAnswered, ClientCallRequested, ClientTool
from outlast.model.event import ToolFinished
from outlast.model.execution import TERMINAL, Status, ToolStep
from outlast.model.wait import CallResult, Decision
from outlast.model.workspace import Principal
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.crashes import MOVES, STEPS, Crash, no_crash
from tests.support.databases import Another, Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import call
from tests.support.trees import agent
from tests.support.waiting import BOUND, lives_until

pytestmark = pytest.mark.anyio

PICK, LOCATE, ADD, SUM = 1, 2, 3, 4
WORK, OPEN, LATE = 5, 6, 7
DECLARED = (
    ClientTool("locate", "Where?", {"type": "object"}, 900),
    ClientTool("late", "Never runs", {"type": "object"}, 5),
)
AGENTS = (
    agent(
        "lead",
        client_tool("pick", timeout=900),
        builtin_spec("calculator", "add"),
        replace(builtin_spec("calculator", "sum"), approval=True),
        agent_tool("worker"),
    ),
    agent("worker", client_tool("open", timeout=900)),
)


def models() -> NamedModels:
    lead = by_turn(
        [
            "Let me.",
            call(PICK, "pick"),
            call(LOCATE, "locate"),
            call(ADD, "add", expression="1+1"),
            call(SUM, "sum", expression="2+2"),
            call(WORK, "worker", input="x"),
        ],
        [call(LATE, "late")],
        ["."],
    )
    worker = by_turn([call(OPEN, "open")], ["Opened."])
    return NamedModels({"lead": FakeModel(lead), "worker": FakeModel(worker)})


async def lead_to_its_end(
    core: Core, caller: Principal, root: str, clock: FakeClock, committed: asyncio.Event
) -> None:
    """Be the client and the person, who see the root alone, until it has ended."""
    services = core.services
    while True:
        committed.clear()
        view = await services.executions.get(caller, root)
        if view.execution.status in TERMINAL:
            return
        for wait in view.approvals:
            if wait.is_open:
                await services.approvals.decide(caller, root, wait.tool_call_id, Decision(True))
        for wait in view.client_calls:
            if not wait.is_open:
                continue
            if wait.name == "late":
                clock.advance(6)
                await core.maintenance.run(DUE_WAITS)
                continue
            given = CallResult(f"gave {wait.name}")
            for _ in range(2):  # a client that has not heard the answer repeats it
                await services.client_calls.answer(caller, root, wait.tool_call_id, given)
        await committed.wait()


async def until_crash(database: Database, crash: Crash) -> tuple[Principal, str, bool]:
    """Run until the crash or to the end; whether it crashed."""
    clock = FakeClock()
    async with database.core(
        models=models(), tools=ToolBox(clock), clock=clock, store=crash.store
    ) as core:
        caller = await owner(core)
        specs: list[tuple[AgentSpec, str]] = [(one, "1") for one in AGENTS]
        await core.services.agents.put(caller.workspace_id, specs)
        request = start_request(client_tools=DECLARED)
        root = (await core.services.executions.start(caller, "lead", request)).execution.id
        running = lead_to_its_end(core, caller, root, clock, crash.committed)
        return caller, root, await lives_until(crash.happened, running)


@pytest.mark.parametrize("commits_last", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_commit_repeats_and_loses_no_call_of_the_client(
    another_database: Another, commits_last: bool
) -> None:
    for writes in range(int(commits_last), 100, 2):  # each commit is met, half of them by each
        database = another_database()
        crash = Crash(writes, commits_last=commits_last, transactions=STEPS | MOVES)
        caller, root, crashed = await until_crash(database, crash)
        clock, later = FakeClock(), no_crash()
        clock.advance(60)  # ids come from the clock
        box = ToolBox(clock)
        async with (
            asyncio.timeout(BOUND),
            database.core(models=models(), tools=box, clock=clock, store=later.store) as core,
        ):
            await lead_to_its_end(core, caller, root, clock, later.committed)
            row = await core.store.executions.get(caller.workspace_id, root)
            steps = await core.store.executions.steps(caller.workspace_id, root)
            log = [entry.event for entry in await core.services.executions.log(caller, root)]
        assert (row.status, row.output) == (Status.COMPLETED, "."), writes
        gave = {step.call.name: step.result for step in steps if isinstance(step, ToolStep)}
        assert gave == {
            "pick": "gave pick",
            "locate": "gave locate",
            "add": 2,
            "sum": 4,
            "worker": "Opened.",
            "late": "The client gave no result in time.",
        }
        for kind, of in (
            (ClientCallRequested, {PICK, LOCATE, OPEN, LATE}),
            (ClientCallAnswered, {PICK, LOCATE, OPEN, LATE}),
            (ToolFinished, {PICK, LOCATE, ADD, SUM, WORK, OPEN, LATE}),
        ):
            seen = [event.tool_call_id for event in log if isinstance(event, kind)]
            assert sorted(seen) == sorted(call(number, "").id for number in of), writes
        if not crashed:
            assert writes > 20
            return
    pytest.fail("no run came to its end without a crash")
