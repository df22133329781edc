"""A chain of models in a budget: each is reserved at its own price, and who answered is charged."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.model.agent import AgentSpec, ModelChoice
from outlast.model.budget import NO_AMOUNTS
from outlast.model.error import ModelUnavailable
from outlast.model.execution import Budget, Status
from outlast.model.price import NANO, ModelPrice, Prices
from tests.engine.test_budgets import budget_of
from tests.support.databases import Database
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import call
from tests.support.trees import agent, make_team
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
FREE, DEAR, CHEAP = (ModelPrice(n, n, n, n) for n in (0, 1_000_000, 1000))
PRICES = Prices({"lead": FREE, "dear": DEAR, "cheap": CHEAP})


class Gated:
    """A model that waits before it does what it does."""

    def __init__(self, *then: object) -> None:
        self.gate, self.then = asyncio.Event(), then
        self.model = FakeModel(self.play)

    def play(self, _: ModelRequest) -> Reply:
        return ["Half ", self.gate, *self.then]  # type: ignore[list-item]

    async def speaks(self) -> None:
        async with asyncio.timeout(BOUND):
            await self.model.spoke.wait()


async def test_each_model_is_reserved_at_its_price_and_a_failed_attempt_is_given_back(
    database: Database,
) -> None:
    dear, cheap = Gated(ModelUnavailable("gone", passing=False)), Gated("done.")
    lead = by_turn([call(1, "researcher", input="x")], ["Done."])
    researcher = AgentSpec(
        "researcher",
        "dear",
        settings={"max_completion_tokens": 100},
        chain=(ModelChoice("dear"), ModelChoice("cheap")),
    )
    async with AsyncExitStack() as stack:
        world = await make_team(database, stack)(
            {"lead": lead, "dear": dear.model, "cheap": cheap.model},
            agent("lead", agent_tool("researcher")),
            researcher,
            prices=PRICES,
        )
        root = await world.start(budget=Budget(max_credits=1))
        await dear.speaks()
        reserved = (await budget_of(world, root)).reserved.credits
        read = reserved // 1_000_000 - 100
        assert reserved == (read + 100) * 1_000_000
        dear.gate.set()
        await cheap.speaks()
        assert (await budget_of(world, root)).reserved.credits == (read + 100) * 1000
        cheap.gate.set()
        ended = await world.until(root)
        assert ended.status is Status.COMPLETED
        budget = await budget_of(world, root)
        (child,) = await world.below(root, 1)
    assert budget.reserved == NO_AMOUNTS
    assert child.output == "Half done."
    assert budget.spent.credits == child.credits == 15 * 1000


async def test_a_model_that_does_not_fit_the_budget_ends_the_chain(database: Database) -> None:
    first = Gated(ModelUnavailable("gone", passing=False))
    first.gate.set()
    dear = Gated("never")
    lead = by_turn([call(1, "researcher", input="x")], ["Done."])
    chain = (ModelChoice("cheap"), ModelChoice("dear"))
    async with AsyncExitStack() as stack:
        world = await make_team(database, stack)(
            {"lead": lead, "cheap": first.model, "dear": dear.model},
            agent("lead", agent_tool("researcher")),
            AgentSpec("researcher", "cheap", chain=chain),
            prices=PRICES,
        )
        root = await world.start(budget=Budget(max_credits=20_000_000 / NANO))
        (child,) = await world.below(root, 1)
        child = await world.until(child.id)
        await world.until(root)
        budget = await budget_of(world, root)
    assert child.error is not None
    assert child.error.code == "budget_exceeded"
    assert (dear.model.requests, child.credits, budget.spent.credits) == ([], 0, 0)
    assert budget.reserved == NO_AMOUNTS
