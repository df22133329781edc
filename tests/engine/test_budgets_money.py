"""Money: after crashes and cancels at any moment, budgets hold exactly what the ledger holds."""

import asyncio
import random
from typing import Any

import pytest

from outlast import agent_tool
from outlast.app import Core
from outlast.model.agent import Effect
from outlast.model.budget import NO_AMOUNTS, Bounds
from outlast.model.error import Conflict, NotFound
from outlast.model.execution import TERMINAL, Budget, Execution, Status
from outlast.model.price import NANO, ModelPrice, Prices
from outlast.model.wait import Decision
from outlast.model.workspace import Principal
from outlast.services.budgets import SetBudget
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.page import Page
from outlast.store.waits.decide import DecideWait
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.crashes import MOVES, STEPS, Crash
from tests.support.databases import Another, Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, tool
from tests.support.trees import CHILD, agent, said
from tests.support.waiting import BOUND, between_looks, lives_until

pytestmark = pytest.mark.anyio

SHORT = {"max_tokens": 100}
PRICES = Prices({"lead": ModelPrice(7, 11, 2, 3)}, {"pay": NANO // 3, "look": 5})
AGENTS = (
    agent("lead", agent_tool("other"), tool("look"), settings=SHORT),
    agent("other", tool("pay", Effect.DESTRUCTIVE, approval=True), settings=SHORT),
)
ROOTS = 3
SEEDS = range(2)


def models() -> NamedModels:
    calls = [call(1, "other", input="a"), call(2, "other", input="b"), call(3, "look")]
    return NamedModels(
        {
            "lead": FakeModel(by_turn(["Let me.", *calls], ["So."])),
            "other": FakeModel(
                lambda request: by_turn([call(10 + ord(said(request)), "pay")], ["Paid."])(request)
            ),
        }
    )


def tools() -> FakeTools:
    return FakeTools(other=CHILD, look=lambda _: "seen", pay=lambda _: "paid")


async def executions(core: Core, workspace_id: str) -> list[Execution]:
    return await core.store.executions.page(workspace_id, ExecutionFilter(), Page(100))


async def act(core: Core, caller: Principal, chance: random.Random, clock: FakeClock) -> None:
    """Decide, cancel and resume at random, until everything has ended."""
    workspace_id, cancels = caller.workspace_id, 2
    while True:
        page = await executions(core, workspace_id)
        if all(one.status in TERMINAL for one in page):
            return
        if cancels and chance.random() < 0.1:
            cancels -= 1
            await _moved(core.services.executions.cancel(caller, chance.choice(page).id))
        waits = await core.store.waits.of_each(workspace_id, [one.id for one in page])
        for one in (wait for found in waits.values() for wait in found):
            if one.is_open and one.is_approval and chance.random() < 0.5:
                decision = Decision(approved=chance.random() < 0.7)
                at, key = clock.now(), "key_1"
                where = (workspace_id, one.execution_id, one.tool_call_id)
                await _moved(core.store.waits.decide(DecideWait(*where, at, decision, key)))
        await between_looks()


async def _moved(work: Any) -> None:
    try:
        await work
    except (Conflict, NotFound):
        return


async def until_crash(
    database: Database, chance: random.Random, crash: Crash, before: Principal | None
) -> tuple[Principal, bool]:
    """Run until the crash or to the end; return whether it crashed."""
    clock = FakeClock()
    clock.advance(chance.randrange(60, 10_000) if before else 0)
    async with database.core(
        models=models(), tools=tools(), clock=clock, store=crash.store, prices=PRICES
    ) as core:
        caller = before or await _prepared(core)
        return caller, await lives_until(crash.happened, act(core, caller, chance, clock))


async def _prepared(core: Core) -> Principal:
    caller = await owner(core)
    services = core.services
    await services.agents.put(caller.workspace_id, [(one, "1") for one in AGENTS])
    for name in ("workspace", caller.key_id):
        await services.budgets.set(caller, name, SetBudget(Bounds(credits=2 * NANO, steps=400)))
    for _ in range(ROOTS):
        budget = Budget(max_credits=1, max_steps=50)
        await services.executions.start(caller, "lead", start_request(budget=budget))
    return caller


@pytest.mark.parametrize("seed", SEEDS)
async def test_after_crashes_and_cancels_every_budget_is_the_sum_of_its_charges(
    another_database: Another, seed: int
) -> None:
    chance = random.Random(seed)
    database, caller, crashed = another_database(), None, True
    async with asyncio.timeout(BOUND):
        while crashed:
            crash = Crash(
                chance.randrange(1, 40),
                commits_last=chance.random() < 0.5,
                transactions=STEPS | MOVES,
            )
            caller, crashed = await until_crash(database, chance, crash, caller)
    assert caller is not None
    async with database.core(models=models(), tools=tools(), clock=FakeClock()) as core:
        found = await executions(core, caller.workspace_id)
        owners = [caller.workspace_id, caller.key_id]
        trees = [one.id for one in found if one.root_id is None]
        shared = await core.store.budgets.of(caller.workspace_id, owners, 0)
        by_tree = await core.store.budgets.of(caller.workspace_id, trees, 0)
    charged = dict(
        database.rows("SELECT execution_id, CAST(SUM(credits) AS BIGINT) FROM charges GROUP BY 1")
    )
    for one in found:
        assert charged.get(one.id, 0) == one.credits
    for budget in shared.values():
        assert budget.spent.credits == sum(charged.values())
        assert budget.spent.tokens == sum(one.charged_tokens for one in found)
        assert budget.spent.steps == sum(one.steps for one in found)
        assert budget.reserved == NO_AMOUNTS
        assert budget.spent.credits <= 2 * NANO
    assert len(shared) == 2
    for root, budget in by_tree.items():
        tree = [one for one in found if one.tree == root]
        assert budget.spent.credits == sum(charged.get(one.id, 0) for one in tree)
        assert budget.spent.steps == sum(one.steps for one in tree)
        assert budget.reserved == NO_AMOUNTS
        assert budget.spent.credits <= NANO
    assert {one.status for one in found} <= {Status.COMPLETED, Status.FAILED, Status.CANCELLED}
    assert all(one.reserved is None for one in found)
