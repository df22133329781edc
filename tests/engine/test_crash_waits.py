"""Crash at every commit of a run that waits for a person, a client and a time."""

import asyncio
from typing import Any

import pytest

from outlast.agents.port import WaitFor
from outlast.app import Core
from outlast.engine.maintenance.due_waits import DUE_WAITS
from outlast.model.agent import Effect
from outlast.model.event import ToolFinished
from outlast.model.execution import TERMINAL, Execution, Status, ToolStep
from outlast.model.wait import CallResult, Decision, Wait, WaitKind
from outlast.model.workspace import Principal
from outlast.store.waits.decide import DecideWait
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.crashes import MOVES, STEPS, Crash, no_crash
from tests.support.databases import Another, Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, lives_until

pytestmark = pytest.mark.anyio
ASK, PAY, SLEEP, LOOK = call(1, "ask"), call(2, "pay"), call(3, "sleep"), call(4, "look")


def tools() -> FakeTools:
    client = WaitFor(WaitKind.CLIENT)
    return FakeTools(
        ask=client, pay=client, sleep=WaitFor(WaitKind.TIMER, 60), look=lambda _: "seen"
    )


def agent() -> Any:
    return spec(
        tool("ask", Effect.DESTRUCTIVE),
        tool("pay", Effect.DESTRUCTIVE, approval=True),
        tool("sleep"),
        tool("look", Effect.IDEMPOTENT),
    )


def models() -> NamedModels:
    replies = by_turn(["Let me.", ASK, PAY, SLEEP, LOOK], ["And ", "again.", call(5, "ask")], ["."])
    return NamedModels({"actor": FakeModel(replies)})


async def lead_to_its_end(
    core: Core, caller: Principal, execution_id: str, clock: FakeClock, committed: asyncio.Event
) -> Execution:
    """Be the person and the client, and let time pass while nothing else is awaited."""
    workspace_id = caller.workspace_id
    while True:
        committed.clear()
        row = await core.store.executions.get(workspace_id, execution_id)
        if row.status in TERMINAL:
            return row
        if row.status is not Status.SUSPENDED:
            await committed.wait()
            continue
        for wait in await core.store.waits.of(workspace_id, execution_id):
            if wait.is_open:
                await _decide(core, caller, wait, clock)


async def _decide(core: Core, caller: Principal, wait: Wait, clock: FakeClock) -> None:
    decision: Decision | CallResult
    if wait.kind is WaitKind.TIMER:
        clock.advance(60)
        await core.maintenance.run(DUE_WAITS)
        return
    decision = Decision(approved=True) if wait.is_approval else CallResult(f"gave {wait.name}")
    request = DecideWait(
        caller.workspace_id, wait.execution_id, wait.tool_call_id, clock.now(), decision, "key_1"
    )
    await core.store.waits.decide(request)


async def until_crash(database: Database, crash: Crash) -> tuple[Principal, str, bool]:
    """Run until the crash or to the end; whether it crashed."""
    clock = FakeClock()
    async with database.core(
        models=models(), tools=tools(), clock=clock, store=crash.store
    ) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent(), "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        execution_id = started.execution.id
        running = lead_to_its_end(core, caller, execution_id, clock, crash.committed)
        return caller, execution_id, await lives_until(crash.happened, running)


@pytest.mark.parametrize("commits_last", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_commit_of_a_wait_reaches_the_same_end(
    another_database: Another, commits_last: bool
) -> None:
    for writes in range(100):
        database = another_database()
        crash = Crash(writes, commits_last=commits_last, transactions=STEPS | MOVES)
        caller, execution_id, crashed = await until_crash(database, crash)
        clock, later = FakeClock(), no_crash()
        async with (
            asyncio.timeout(BOUND),
            database.core(models=models(), tools=tools(), clock=clock, store=later.store) as core,
        ):
            row = await lead_to_its_end(core, caller, execution_id, clock, later.committed)
            steps = await core.store.executions.steps(caller.workspace_id, execution_id)
            log = [
                entry
                async for entries in core.services.executions.follow(caller, execution_id)
                for entry in entries
            ]
        assert (row.status, row.output, row.awaiting) == (Status.COMPLETED, ".", None), writes
        gave = {step.call.id: step.result for step in steps if isinstance(step, ToolStep)}
        assert gave == {
            ASK.id: "gave ask",
            PAY.id: "gave pay",
            SLEEP.id: None,
            LOOK.id: "seen",
            call(5, "ask").id: "gave ask",
        }
        assert row.usage.total_tokens == 45
        finished = [e.event.tool_call_id for e in log if isinstance(e.event, ToolFinished)]
        assert len(finished) == len(set(finished)) == 5
        assert [e.seq for e in log] == list(range(1, len(log) + 1))
        requested = [e for e in log if e.event.kind == "approval.requested"]
        assert len(requested) == 1, "no crash asks what became of a call that did not run here"
        if not crashed:
            assert writes > 15
            return
    pytest.fail("no run came to its end without a crash")
