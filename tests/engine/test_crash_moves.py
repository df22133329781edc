"""Crash at every commit of a run with approvals, pauses and roll-backs: nothing runs twice."""

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import pytest

from outlast.app import Core
from outlast.model.agent import Effect
from outlast.model.error import Conflict
from outlast.model.event import Entry, ToolFinished
from outlast.model.execution import TERMINAL, Status
from outlast.model.wait import Decision, WaitKind
from outlast.model.workspace import Principal
from outlast.services.executions import ExecutionView
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.crashes import MOVES, STEPS, Crash
from tests.support.databases import Another, Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, lives_until

pytestmark = pytest.mark.anyio
T = TypeVar("T")
Ran = list[dict[str, Any]]
"""The arguments of every payment that was made."""
PER_TOKEN = 1_000_000
"""Billionths of a credit, where no price is set."""
PAY, FEE, LOOK = call(1, "pay", amount=5), call(2, "fee", amount=1), call(3, "look")


def agent() -> Any:
    return spec(
        tool("pay", Effect.DESTRUCTIVE, approval=True),
        tool("fee", Effect.DESTRUCTIVE, approval=True),
        tool("look", Effect.IDEMPOTENT),
    )


def models() -> NamedModels:
    return NamedModels({"actor": FakeModel(by_turn(["Let ", "me. ", PAY, FEE, LOOK], ["Done."]))})


async def decide_all(core: Core, caller: Principal, execution_id: str, ran: Ran) -> ExecutionView:
    """Be the person: edit the payment, deny the fee, say the truth of an unknown outcome."""
    executions = core.services.executions
    while True:
        view = await executions.rest(caller, execution_id)
        waiting = [a for a in view.approvals if a.is_open]
        if view.execution.status in TERMINAL or not waiting:
            return view
        for approval in waiting:
            if approval.kind is WaitKind.UNKNOWN_OUTCOME:
                given: dict[str, Any] = {"result": "paid"} if ran else {}
                decision = Decision(approved=True, **given)
            elif approval.name == "pay":
                decision = Decision(approved=True, parameters={"amount": 3})
            else:
                decision = Decision(approved=False, reason="no fee")
            await core.services.approvals.decide(
                caller, execution_id, approval.tool_call_id, decision
            )


async def until_crash(
    database: Database, tools: FakeTools, ran: Ran, crash: Crash
) -> tuple[Principal, str, bool]:
    """Run until the crash or to the end; whether it crashed."""
    async with database.core(
        models=models(), tools=tools, clock=FakeClock(), store=crash.store
    ) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent(), "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        running = decide_all(core, caller, started.execution.id, ran)
        crashed = await lives_until(crash.happened, running)
        return caller, started.execution.id, crashed


def paid(ran: Ran, arguments: dict[str, Any]) -> str:
    ran.append(arguments)
    return "paid"


async def log_of(core: Core, caller: Principal, execution_id: str) -> list[Entry]:
    return [
        entry
        async for entries in core.services.executions.follow(caller, execution_id)
        for entry in entries
    ]


@pytest.mark.parametrize("commits_last", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_commit_of_an_approval_runs_the_tool_once(
    another_database: Another, commits_last: bool
) -> None:
    for writes in range(100):
        database = another_database()
        crash = Crash(writes, commits_last=commits_last, transactions=STEPS | MOVES)
        ran: Ran = []
        tools = FakeTools(pay=partial(paid, ran), look=lambda _: "seen")
        caller, execution_id, crashed = await until_crash(database, tools, ran, crash)
        async with (
            asyncio.timeout(BOUND),
            database.core(models=models(), tools=tools, clock=FakeClock()) as core,
        ):
            view = await decide_all(core, caller, execution_id, ran)
            log = await log_of(core, caller, execution_id)
        assert (view.execution.status, view.execution.output) == (Status.COMPLETED, "Done."), writes
        assert view.execution.usage.total_tokens == 30
        assert view.execution.steps == 5
        assert ran == [{"amount": 3}], writes
        finished = [e.event.tool_call_id for e in log if isinstance(e.event, ToolFinished)]
        assert sorted(finished) == [PAY.id, FEE.id, LOOK.id]
        assert [e.seq for e in log] == list(range(1, len(log) + 1))
        if not crashed:
            assert writes > 9
            return
    pytest.fail("no run came to its end without a crash")


async def roll_back(core: Core, caller: Principal, execution_id: str) -> ExecutionView:
    """Roll a completed run back to its second step, and wait for its end."""
    executions = core.services.executions
    view = await executions.rest(caller, execution_id)
    checkpoints = await executions.checkpoints(caller, execution_id)
    second = next(c for c in checkpoints if c.step == 2)
    if view.execution.status in TERMINAL and not any(c.superseded for c in checkpoints):
        with suppress(Conflict):
            await executions.resume(caller, execution_id, second.id)
    return await executions.rest(caller, execution_id)


@pytest.mark.parametrize("commits_last", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_commit_of_a_roll_back_reaches_the_same_end(
    another_database: Another, commits_last: bool
) -> None:
    def looks() -> NamedModels:
        return NamedModels(
            {"actor": FakeModel(by_turn(["A", call(1, "look")], ["B", call(2, "look")], ["End."]))}
        )

    for writes in range(100):
        database = another_database()
        crash = Crash(writes, commits_last=commits_last, transactions=STEPS | MOVES)
        tools = FakeTools(look=lambda _: "x")
        crash.clear()
        async with database.core(
            models=looks(), tools=tools, clock=FakeClock(), store=crash.store
        ) as core:
            caller = await owner(core)
            await core.services.agents.put(caller.workspace_id, [(agent(), "1")])
            started = await core.services.executions.start(caller, "agent", start_request())
            execution_id = started.execution.id
            async with asyncio.timeout(BOUND):
                await core.services.executions.rest(caller, execution_id)
            crash.after(writes)
            crashed = await lives_until(crash.happened, roll_back(core, caller, execution_id))
        async with (
            asyncio.timeout(BOUND),
            database.core(models=looks(), tools=tools, clock=FakeClock()) as core,
        ):
            view = await roll_back(core, caller, execution_id)
            log = await log_of(core, caller, execution_id)
        row = view.execution
        assert (row.status, row.output, row.steps) == (Status.COMPLETED, "End.", 5), writes
        assert row.usage.total_tokens == 45
        assert row.charged_tokens == 45 + 30
        assert row.credits == (45 + 30) * PER_TOKEN
        assert database.rows("SELECT sum(credits), count(*) FROM charges") == [(row.credits, 5)]
        assert [e.seq for e in log] == list(range(1, len(log) + 1))
        if not crashed:
            assert writes > 3
            return
    pytest.fail("no roll-back came to its end without a crash")
