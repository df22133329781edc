"""Loops beside the segments outlive errors of any kind, and one failure is not its neighbour's."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from outlast.app import Core
from outlast.model.agent import Expiry
from outlast.model.event import TextAdded
from outlast.model.execution import Status
from outlast.model.wait import Wait
from outlast.model.workspace import Principal
from outlast.store.driver import Driver
from outlast.store.executions.store import ExecutionStore
from outlast.store.executions.values import TextAppend
from outlast.store.store import Store
from outlast.store.unreadable import Unreadable
from outlast.store.waits.decide import DecideWait
from outlast.store.waits.store import WaitStore
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import over_in_time, start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio


class OddApprovals(WaitStore):
    """Raises what no store should raise."""

    poison = ""
    """The call whose decision is refused."""
    odd: BaseException | None = None
    """Raised by the next look at what is due."""

    async def due(self, now: int, limit: int) -> list[tuple[str, Wait] | Unreadable]:
        if (error := self.odd) is not None:
            self.odd = None
            raise error
        return await super().due(now, limit)

    async def decide(self, request: DecideWait) -> Wait:
        if request.tool_call_id == self.poison:
            raise RuntimeError(self.poison)
        return await super().decide(request)


class OddExecutions(ExecutionStore):
    """Raises what no store should raise."""

    poison = ""
    """Text that is refused."""

    async def append_text(self, appends: Sequence[TextAppend]) -> list[bool]:
        if self.poison and any(self.poison in str(append.texts) for append in appends):
            raise ValueError(self.poison)
        return await super().append_text(appends)


def odd_store(driver: Driver) -> Store:
    return replace(Store.over(driver), waits=OddApprovals(driver), executions=OddExecutions(driver))


async def ready(core: Core, agent: Any) -> Principal:
    caller = await owner(core)
    await core.services.agents.put(caller.workspace_id, [(agent, "1")])
    return caller


async def first_text(core: Core, caller: Principal, execution_id: str) -> str:
    async for entries in core.services.executions.follow(caller, execution_id):
        for entry in entries:
            if isinstance(entry.event, TextAdded):
                return "".join(entry.event.pieces)
    return ""


async def test_text_that_the_store_refuses_takes_no_neighbour_along(database: Database) -> None:
    gate = asyncio.Event()

    def play(request: Any) -> list[Any]:
        said = request.messages[-1].text
        return [f"{said} one ", gate, "two"]

    models = NamedModels({"actor": FakeModel(play)})
    async with (
        asyncio.timeout(BOUND),
        database.core(models=models, tools=FakeTools(), clock=FakeClock(), store=odd_store) as core,
    ):
        caller = await ready(core, spec())
        OddExecutions.poison = "bad"
        try:
            started = [
                await core.services.executions.start(caller, "agent", start_request(said))
                for said in ("good", "bad", "fine")
            ]
            good, _, fine = (one.execution.id for one in started)
            heard: dict[str, str] = {}
            for execution_id in (good, fine):
                heard[execution_id] = await first_text(core, caller, execution_id)
            assert heard == {good: "good one ", fine: "fine one "}  # live, before their end
        finally:
            OddExecutions.poison = ""
        gate.set()
        for execution_id in heard:
            view = await core.services.executions.rest(caller, execution_id)
            assert view.execution.status is Status.COMPLETED
        assert core.metrics.failures.counts["log_text"] >= 1


@pytest.mark.parametrize("odd", [RuntimeError("odd"), KeyError("odd"), TypeError()])
async def test_approvals_expire_after_an_error_that_is_none_of_ours(
    database: Database, odd: Exception
) -> None:
    clock = FakeClock()
    agent = spec(tool("pay", approval=True, expiry=Expiry(5)))
    models = NamedModels({"actor": FakeModel(by_turn([call(1, "pay")], ["Over"]))})
    async with (
        asyncio.timeout(BOUND),
        database.core(models=models, tools=FakeTools(), clock=clock, store=odd_store) as core,
    ):
        caller = await ready(core, agent)
        started = await core.services.executions.start(caller, "agent", start_request())
        await core.services.executions.rest(caller, started.execution.id)
        assert isinstance(core.store.waits, OddApprovals)
        core.store.waits.odd = odd
        await over_in_time(core, clock, caller.workspace_id, started.execution.id)
        assert core.metrics.failures.counts["expire_approvals"] == 1
        assert b'outlast_duty_failures_total{duty="expire_approvals"} 1.0' in core.metrics.render()


async def test_an_approval_that_cannot_be_decided_keeps_no_other_waiting(
    database: Database,
) -> None:
    clock = FakeClock()
    agent = spec(tool("pay", approval=True, expiry=Expiry(5)))

    def play(request: Any) -> list[Any]:
        if len(request.messages) > 1:
            return ["Over"]
        return [call(1 if request.messages[0].text == "bad" else 2, "pay")]

    models = NamedModels({"actor": FakeModel(play)})
    async with (
        asyncio.timeout(BOUND),
        database.core(models=models, tools=FakeTools(), clock=clock, store=odd_store) as core,
    ):
        caller = await ready(core, agent)
        ids = []
        for said in ("bad", "good"):
            started = await core.services.executions.start(caller, "agent", start_request(said))
            await core.services.executions.rest(caller, started.execution.id)
            ids.append(started.execution.id)
        assert isinstance(core.store.waits, OddApprovals)
        core.store.waits.poison = call(1, "pay").id
        await over_in_time(core, clock, caller.workspace_id, ids[1])
        view = await core.store.executions.get(caller.workspace_id, ids[0])
        assert view.status is Status.SUSPENDED
