"""Transactions on Postgres lock the budgets that they spend from in one order."""

import asyncio

import pytest

from outlast.model.budget import Bounds
from outlast.model.charge import Charge
from outlast.model.usage import Usage
from outlast.services.budgets import SetBudget
from outlast.store.request_charges import RequestCharge
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import POSTGRESQL, Database
from tests.support.waiting import BOUND

pytestmark = [pytest.mark.anyio, pytest.mark.only(POSTGRESQL)]

REQUESTS = 60
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"


async def test_requests_that_reserve_and_settle_at_once_never_wait_for_each_other_in_a_circle(
    database: Database,
) -> None:
    async with database.core(models=NamedModels({}), clock=FakeClock()) as core:
        caller = await owner(core)
        charges = core.store.request_charges
        budgets, owners = core.services.budgets, (caller.workspace_id, caller.key_id)
        for name in owners:
            bounds = Bounds(tokens=10**6, millis=10**9)  # of time: so all share one row
            await budgets.set(caller, name, SetBudget(bounds))

        async def made(number: int) -> None:
            charge = Charge(f"step_{number}", None, "model", "small", 7, 1, Usage(7))
            wanted = RequestCharge(caller.workspace_id, caller.key_id, charge)
            await charges.reserve(wanted)
            await charges.settle(wanted)

        async with asyncio.timeout(BOUND), asyncio.TaskGroup() as group:
            for number in range(REQUESTS):
                group.create_task(made(number))
        spent = [await budgets.get(caller, name) for name in owners]
    assert [(one.spent.tokens, one.reserved.tokens) for one in spent] == [(7 * REQUESTS, 0)] * 2
    assert database.rows(DEADLOCKS) == [(0,)]
