"""A suspension says whom it awaits in the statement that makes it, and a pause meets it."""

import asyncio
from typing import Any

import pytest

from outlast.agents.port import WaitFor
from outlast.model.agent import Effect
from outlast.model.execution import Status
from outlast.model.wait import CallResult, WaitKind
from outlast.store.driver import Driver
from outlast.store.executions.statements import ADVANCE_AWAITING, SET_AWAITING
from outlast.store.executions.store import ExecutionStore
from outlast.store.executions.values import Advance
from outlast.store.store import Store
from outlast.store.waits.decide import DecideWait
from outlast.store.waits.rows import WHO_IS_AWAITED
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.recording import RecordingDriver, recorded
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio
IMPATIENT = 5.0
"""Seconds; less than a pause waits for a worker that has the execution."""


@pytest.mark.parametrize("kind", [WaitKind.APPROVAL, WaitKind.CLIENT, WaitKind.CHILD])
@pytest.mark.parametrize("beside", [(), (call(2, "look"),)], ids=["alone", "beside a tool"])
async def test_a_suspension_writes_whom_it_awaits_once(
    database: Database, kind: WaitKind, beside: tuple[Any, ...]
) -> None:
    drivers: list[RecordingDriver] = []
    approval = kind is WaitKind.APPROVAL
    tools = FakeTools(ask=str if approval else WaitFor(kind), look=lambda _: "seen")
    ask = tool("ask", Effect.DESTRUCTIVE, approval=approval)
    model = FakeModel(by_turn([call(1, "ask"), *beside], ["Done."]))
    models = NamedModels({"actor": model})
    async with database.core(models=models, tools=tools, store=recorded(drivers)) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(ask, tool("look")), "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        async with asyncio.timeout(BOUND):
            while True:
                row = await core.store.executions.get(caller.workspace_id, started.execution.id)
                if row.status is Status.SUSPENDED:
                    break
                await between_looks()
    statements = drivers[0].statements
    assert statements.count(ADVANCE_AWAITING) == 1
    assert statements.count(WHO_IS_AWAITED) == len(beside), "they may be decided meanwhile"
    assert SET_AWAITING not in statements


async def test_a_run_that_waits_for_nothing_pays_for_no_wait(database: Database) -> None:
    drivers: list[RecordingDriver] = []
    models = NamedModels({"actor": FakeModel(by_turn([call(1, "look")], ["Done."]))})
    tools = FakeTools(look=lambda _: "seen")
    async with database.core(models=models, tools=tools, store=recorded(drivers)) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(tool("look")), "1")])
        _, view = await core.services.executions.run(caller, "agent", start_request())
        assert view.execution.status is Status.COMPLETED
    paid = {ADVANCE_AWAITING, SET_AWAITING, WHO_IS_AWAITED} & set(drivers[0].statements)
    assert not paid


class PausingExecutions(ExecutionStore):
    """Lets a request to pause in right before the suspension."""

    pause: Any = None

    async def advance(self, move: Advance) -> Any:
        if self.pause is not None and move.after.status is Status.SUSPENDED:
            pause, self.pause = self.pause, None
            await pause(move.after)
        return await super().advance(move)


async def test_a_pause_that_meets_the_suspension_for_a_time_is_not_kept_waiting(
    database: Database,
) -> None:
    def store(driver: Driver) -> Store:
        made = Store.over(driver)
        object.__setattr__(made, "executions", PausingExecutions(driver))
        return made

    tools = FakeTools(sleep=WaitFor(WaitKind.TIMER, 60))
    models = NamedModels({"actor": FakeModel(by_turn([call(1, "sleep")], ["Done."]))})
    clock = FakeClock()
    async with database.core(models=models, tools=tools, clock=clock, store=store) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(tool("sleep")), "1")])
        pausing: list[asyncio.Task[Any]] = []

        async def pause(row: Any) -> None:
            paused = core.services.executions.pause(caller, row.id)
            pausing.append(asyncio.create_task(paused, name="pause"))
            while not (await core.store.executions.get(row.workspace_id, row.id)).pause_requested:
                await between_looks()

        executions: Any = core.store.executions
        executions.pause = pause
        started = await core.services.executions.start(caller, "agent", start_request())
        async with asyncio.timeout(IMPATIENT):
            while not pausing:
                await between_looks()
            view = await pausing[0]
        assert view.execution.status is Status.PAUSED
        request = DecideWait(
            caller.workspace_id, started.execution.id, call(1, "sleep").id, 9, CallResult(None)
        )
        assert not (await core.store.waits.decide(request)).is_open
        row = await core.store.executions.get(caller.workspace_id, started.execution.id)
        assert (row.status, row.awaiting) == (Status.PAUSED, None)
