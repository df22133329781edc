"""Clocks that step back, or stand in another century: no span is negative."""

import asyncio
from typing import Any

import pytest

from outlast.model.agent import Expiry
from outlast.model.clock import SystemClock, iso
from outlast.model.execution import Status
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import MakeEngine, over_in_time, start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
HOUR = 3600.0


@pytest.mark.parametrize("back", [0.5, HOUR, 10 * 365 * 24 * HOUR])
async def test_no_time_of_an_execution_is_negative_when_the_clock_steps_back(
    make_engine: MakeEngine, back: float
) -> None:
    async def look(_: Any) -> str:
        server.clock.set_by(-back)
        return "seen"

    def play(request: Any) -> Any:
        server.clock.set_by(-back)
        yield "Well. "
        server.clock.set_by(-back)
        if len(request.messages) == 1:
            yield call(1, "look")

    server = await make_engine(FakeModel(play), spec(tool("look")), FakeTools(look=look))
    execution = (await server.run()).execution
    assert execution.status is Status.COMPLETED
    assert execution.completed_at is not None
    assert execution.started_at is not None
    assert execution.created_at <= execution.started_at <= execution.completed_at
    assert execution.first_token_ms is not None
    assert min(execution.first_token_ms, execution.tool_ms, execution.active_ms) >= 0
    steps = await server.core.store.executions.steps(server.caller.workspace_id, execution.id)
    assert all(step.started_at <= step.ended_at for step in steps)


@pytest.mark.parametrize("forward", [HOUR, 5 * HOUR])
async def test_a_limit_of_seconds_counts_what_passes_and_not_what_a_clock_says(
    make_engine: MakeEngine, forward: float
) -> None:
    def play(_: Any) -> Any:
        server.clock.set_by(forward)
        yield "Done"

    server = await make_engine(FakeModel(play))
    execution = (await server.run()).execution
    assert execution.status is Status.COMPLETED
    assert execution.active_ms < 1000


async def test_a_server_runs_suspends_and_expires_in_the_year_2500(database: Database) -> None:
    clock = FakeClock(16_725_225_600_000)
    assert iso(clock.now()) == "2500-01-01T00:00:00.000Z"
    models = NamedModels({"actor": FakeModel(by_turn([call(1, "pay")], ["Done"]))})
    agent = spec(tool("pay", approval=True, expiry=Expiry(5)))
    async with (
        asyncio.timeout(BOUND),
        database.core(models=models, tools=FakeTools(), clock=clock) as core,
    ):
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent, "1")])
        _, view = await core.services.executions.run(caller, "agent", start_request())
        assert view.execution.status is Status.SUSPENDED
        await over_in_time(core, clock, caller.workspace_id, view.execution.id)


# --- the machine's clock

SECOND = 1_000_000_000


class Machine:
    def __init__(self) -> None:
        self.wall, self.monotonic = 1000 * SECOND, 5 * SECOND
        self.clock = SystemClock(lambda: self.wall, lambda: self.monotonic)

    def passes(self, seconds: float) -> None:
        self.wall += round(seconds * SECOND)
        self.monotonic += round(seconds * SECOND)


def test_the_system_clock_is_the_machines() -> None:
    machine = Machine()
    assert machine.clock.now() == 1_000_000
    machine.passes(2)
    assert machine.clock.now() == 1_002_000
    machine.wall += 3600 * SECOND  # set forward, or woken from sleep
    assert machine.clock.now() == 4_602_000


@pytest.mark.parametrize("back", [0.001, 60, 3600])
def test_the_system_clock_never_steps_back_and_meets_the_machines_again(back: float) -> None:
    machine = Machine()
    before = machine.clock.now()
    machine.wall -= round(back * SECOND)
    assert machine.clock.now() == before
    machine.passes(10)
    waited = machine.clock.now() - before
    assert 9_000 <= waited <= 10_000  # a span is what passed, if a little less
    for _ in range(12):
        machine.passes(back)
        machine.clock.now()
    assert machine.clock.now() == machine.wall // 1_000_000
