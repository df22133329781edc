"""Crash at every commit of a run whose tools need input of a person, in two rounds each."""

import asyncio
from collections import Counter
from typing import Any, Final

import pytest

from outlast.agents.port import InputNeeded, ToolContext
from outlast.app import Core
from outlast.model.agent import Effect, ToolSpec
from outlast.model.client_call import ClientCallAnswered, ClientCallRequested
from outlast.model.execution import TERMINAL, Status, ToolStep
from outlast.model.input_request import InputRequest
from outlast.model.wait import CallResult, Decision, WaitKind
from outlast.model.workspace import Principal
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.crashes import MOVES, STEPS, Crash, no_crash
from tests.support.databases import Another, Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, lives_until

pytestmark = pytest.mark.anyio

AGENT: Final = spec(tool("quote"), tool("ship", Effect.DESTRUCTIVE))
QUOTE, SHIP = call(1, "quote").id, call(2, "ship").id
ROUNDS: Final = {"street": "High", "floor": "2"}
"""What each round asks, and the answer."""


class Asking(FakeTools):
    """Tools that end their call for input twice, and then take effect."""

    def __init__(self) -> None:
        super().__init__()
        self.effects: Counter[str] = Counter()

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        state = "" if context.given is None else context.given.request.state or ""
        answered = [one for one in state.split(",") if one]
        if context.given is not None:
            answered.append(str(context.given.answers["q"]["content"]["value"]))
        if len(answered) == len(ROUNDS):
            self.effects[spec.name] += 1
            return f"{spec.name} {' '.join(answered)}"
        wanted = [*ROUNDS][len(answered)]
        schema = {"type": "object", "properties": {"value": {"type": "string"}}}
        question = {"message": wanted, "mode": "form", "schema": schema}
        rounds = len(answered) + 1
        raise InputNeeded(InputRequest({"q": question}, ",".join(answered), rounds=rounds))


def models() -> NamedModels:
    replies = by_turn([call(1, "quote"), call(2, "ship")], ["Done."])
    return NamedModels({"actor": FakeModel(replies)})


async def lead_to_its_end(
    core: Core, caller: Principal, run: str, committed: asyncio.Event
) -> list[str]:
    """Give all input until it has ended; return the calls whose outcome was unknown."""
    services, unknown = core.services, list[str]()
    while True:
        committed.clear()
        view = await services.executions.get(caller, run)
        if view.execution.status in TERMINAL:
            return unknown
        for wait in view.approvals:
            if wait.is_open:
                assert wait.kind is WaitKind.UNKNOWN_OUTCOME
                unknown.append(wait.tool_call_id)
                await services.approvals.decide(caller, run, wait.tool_call_id, Decision(True))
        for wait in view.client_calls:
            if wait.is_open and wait.request is not None:
                value = ROUNDS[wait.request.questions["q"]["message"]]
                given = CallResult({"action": "accept", "content": {"value": value}})
                await services.client_calls.answer(caller, run, wait.tool_call_id, given)
        await committed.wait()


async def until_crash(
    database: Database, crash: Crash, tools: Asking
) -> tuple[Principal, str, bool]:
    """Run until the crash or to the end; whether it crashed."""
    async with database.core(
        models=models(), tools=tools, clock=FakeClock(), store=crash.store
    ) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(AGENT, "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        run = started.execution.id
        running = lead_to_its_end(core, caller, run, crash.committed)
        return caller, run, await lives_until(crash.happened, running)


@pytest.mark.parametrize("commits_last", [False, True], ids=["before", "after"])
async def test_a_crash_at_any_commit_loses_no_answer_and_repeats_no_effect_by_itself(
    another_database: Another, commits_last: bool
) -> None:
    for writes in range(int(commits_last), 100, 2):  # each commit is met, half of them by each
        database, tools = another_database(), Asking()
        crash = Crash(writes, commits_last=commits_last, transactions=STEPS | MOVES)
        caller, run, crashed = await until_crash(database, crash, tools)
        clock, later = FakeClock(), no_crash()
        clock.advance(60)  # ids come from the clock
        async with (
            asyncio.timeout(BOUND),
            database.core(models=models(), tools=tools, clock=clock, store=later.store) as core,
        ):
            unknown = await lead_to_its_end(core, caller, run, later.committed)
            row = await core.store.executions.get(caller.workspace_id, run)
            steps = await core.store.executions.steps(caller.workspace_id, run)
            log = [entry.event for entry in await core.services.executions.log(caller, run)]
        assert (row.status, row.output) == (Status.COMPLETED, "Done."), writes
        gave = {step.call.id: step.result for step in steps if isinstance(step, ToolStep)}
        assert gave == {QUOTE: "quote High 2", SHIP: "ship High 2"}, writes
        assert set(unknown) <= {SHIP}, writes
        assert tools.effects["ship"] <= 1 + len(unknown), writes
        for call_id in (QUOTE, SHIP):
            counts = Counter(
                type(event)
                for event in log
                if isinstance(event, ClientCallRequested | ClientCallAnswered)
                and event.tool_call_id == call_id
            )
            assert counts[ClientCallRequested] == counts[ClientCallAnswered] >= len(ROUNDS), writes
        if not crashed:
            assert writes > 10
            return
    pytest.fail("no run came to its end without a crash")
