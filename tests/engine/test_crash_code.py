"""Crash at every commit of a code agent's run: the same end, charged once, paid once."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from outlast import Context
from outlast.agents.code import CodeFunctions
from outlast.agents.define import agent
from outlast.app import Core
from outlast.model.agent import AgentSpec, Effect
from outlast.model.event import DataEmitted, TextAdded, ToolFinished
from outlast.model.execution import TERMINAL, Status
from outlast.model.wait import Decision, WaitKind
from outlast.model.workspace import Principal
from outlast.services.executions import ExecutionView
from outlast.testing import FakeClock, NamedModels, owner
from tests.engine.test_code import prompt
from tests.support.crashes import Crash
from tests.support.databases import Another, Database
from tests.support.engine import EngineHarness, start_request
from tests.support.models import FakeModel
from tests.support.tools import FakeTools, tool
from tests.support.waiting import BOUND, lives_until

pytestmark = pytest.mark.anyio
AMOUNTS = {"fee": 1, "pay": 3}


async def pays_twice(ctx: Context, given: str) -> str:
    """A checkpoint in the middle, a payment on either side, one of them with an approval."""
    if "fee" not in ctx.state:
        first = await ctx.model(f"first {given}")
        fee = await ctx.tool("fee", amount=1)
        await ctx.checkpoint({"fee": fee, "first": first.text}, "paid")
    await ctx.emit("half", ctx.state["first"])
    second = await ctx.model(f"second {ctx.state['first']}")
    seen = await ctx.tool("look")
    paid = await ctx.tool("pay", amount=3)
    return f"{second.text} {seen} {ctx.state['fee']} {paid}"


def spec() -> AgentSpec:
    tools = (
        tool("fee", Effect.DESTRUCTIVE),
        tool("look", Effect.IDEMPOTENT),
        tool("pay", Effect.DESTRUCTIVE, approval=True),
    )
    return replace(agent(model="actor", name="agent")(pays_twice).spec, tools=tools)


class Till:
    """Remembers every payment."""

    def __init__(self) -> None:
        self.paid: list[str] = []
        self.tools = FakeTools(fee=self._pay("fee"), pay=self._pay("pay"), look=lambda _: "seen")

    def _pay(self, name: str) -> Any:
        def made(arguments: dict[str, Any]) -> str:
            assert arguments == {"amount": AMOUNTS[name]}
            self.paid.append(name)
            return name

        return made


def server_on(database: Database, till: Till, model: FakeModel, later: int = 0, **more: Any) -> Any:
    """A server that starts so many milliseconds later: its ids are not those of the first."""
    return database.core(
        models=NamedModels({"actor": model}),
        tools=till.tools,
        clock=FakeClock(FakeClock().now() + later),
        code=CodeFunctions({str(spec().code): pays_twice}),
        **more,
    )


def model() -> FakeModel:
    return FakeModel(lambda request: ["<", prompt(request).split()[0], ">"])


async def decide_all(core: Core, caller: Principal, execution_id: str, till: Till) -> ExecutionView:
    """Be the person: approve, and say the truth of an unknown outcome."""
    while True:
        view = await core.services.executions.rest(caller, execution_id)
        waiting = [approval for approval in view.approvals if approval.is_open]
        if view.execution.status in TERMINAL or not waiting:
            return view
        for approval in waiting:
            ran = approval.kind is WaitKind.UNKNOWN_OUTCOME and approval.name in till.paid
            reported: dict[str, Any] = {"result": approval.name} if ran else {}
            await core.services.approvals.decide(
                caller, execution_id, approval.tool_call_id, Decision(approved=True, **reported)
            )


async def live_until(
    database: Database, till: Till, crash: Crash, actor: FakeModel
) -> tuple[Principal, str]:
    """Run until the crash or to the end."""
    async with server_on(database, till, actor, store=crash.store) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        started = await core.services.executions.start(caller, "agent", start_request("x"))
        execution_id = started.execution.id
        await lives_until(crash.happened, decide_all(core, caller, execution_id, till))
        return caller, execution_id


@pytest.mark.parametrize("commits_last", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_commit_of_a_code_agent_reaches_the_same_end(
    another_database: Another, commits_last: bool
) -> None:
    for writes in range(100):
        database, till = another_database(), Till()
        crash = Crash(writes, commits_last=commits_last)
        caller, execution_id = await live_until(database, till, crash, model())
        async with asyncio.timeout(BOUND), server_on(database, till, model(), 1000) as core:
            view = await decide_all(core, caller, execution_id, till)
            log = await EngineHarness(core, caller, None, FakeClock()).log(execution_id)
        row = view.execution
        assert (row.status, row.output) == (Status.COMPLETED, "<second> seen fee pay"), writes
        assert sorted(till.paid) == ["fee", "pay"], writes
        assert (row.usage.total_tokens, row.steps) == (30, 9), writes
        assert row.state == {"fee": "fee", "first": "<first>"}
        assert [e.seq for e in log] == list(range(1, len(log) + 1))
        finished = [e.event.name for e in log if isinstance(e.event, ToolFinished)]
        assert finished == ["fee", "look", "pay"], writes
        assert 1 <= sum(isinstance(e.event, DataEmitted) for e in log) <= 2
        text = "".join("".join(e.event.pieces) for e in log if isinstance(e.event, TextAdded))
        assert text.endswith("<second> seen fee pay")
        if not crash.happened.is_set():
            assert writes > 10
            return
    pytest.fail("the run never outlived its store")
