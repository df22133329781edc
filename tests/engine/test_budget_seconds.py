"""Budgets of seconds of keys and workspaces: what runs at the same time adds up."""

import asyncio
from dataclasses import replace

import pytest

from outlast.model.budget import Bounds
from outlast.model.error import QuotaExceeded
from outlast.model.execution import Status
from outlast.services.budgets import SetBudget
from tests.support.databases import SQLITE
from tests.support.engine import EngineHarness, MakeEngine
from tests.support.models import FakeModel, by_turn
from tests.support.waiting import BOUND, between_looks

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]


async def spent_millis(server: EngineHarness, owner: str) -> int:
    return (await server.core.services.budgets.get(server.caller, owner)).spent_millis


@pytest.mark.parametrize("whose", ["workspace", "key"])
async def test_the_seconds_of_all_that_runs_add_up_and_end_it(
    make_engine: MakeEngine, whose: str
) -> None:
    model = FakeModel(by_turn(["Well", asyncio.Event()]))
    server = await make_engine(model)
    owner = whose if whose == "workspace" else f"key:{server.caller.key_id}"
    budgets, workspace_id = server.core.services.budgets, server.caller.workspace_id
    await budgets.set(server.caller, owner, SetBudget(Bounds(millis=60_000)))
    started = [await server.start() for _ in range(2)]

    async def live() -> list[str]:
        rows = [await server.core.store.executions.get(workspace_id, one) for one in started]
        return [row.id for row in rows if row.error is None]

    async with asyncio.timeout(BOUND):
        while model.open < 2:
            await between_looks()
        passed = 0
        while await live():
            before, passed = await spent_millis(server, owner), passed + 5
            server.clock.advance(5)
            while await spent_millis(server, owner) == before and await live():
                await between_looks()
    for one in started:
        ended = (await server.rest(one)).execution
        assert (ended.status, ended.output) == (Status.FAILED, "Well")
        assert ended.error is not None
        assert ended.error.code == "budget_exceeded"
    assert 25 <= passed <= 45, "two at a time: half a minute, and what passes between two looks"
    assert await spent_millis(server, owner) >= 59_000
    assert model.open == 0
    server.caller = replace(server.caller, budgeted=True)
    with pytest.raises(QuotaExceeded):
        await server.start()
