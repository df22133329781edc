"""Budgets over trees: reserved before they are spent, by whoever spends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from outlast import agent_tool
from outlast.model.agent import Limits
from outlast.model.budget import NO_AMOUNTS, OwnedBudget
from outlast.model.execution import Budget, Execution, Status
from outlast.model.price import NANO, Prices
from outlast.model.wait import Decision
from tests.support.databases import Database
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, tool
from tests.support.trees import CHILD, MakeTeam, Team, agent, heard, make_team
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio

SHORT = {"max_tokens": 100}
"""What a request reserves is little more than this."""
MANY = Limits(max_steps=1000)
LEAD = agent("lead", agent_tool("researcher"), settings=SHORT, limits=MANY)
RESEARCHER = agent("researcher", settings=SHORT)


@pytest.fixture
async def team(database: Database) -> AsyncIterator[MakeTeam]:
    async with AsyncExitStack() as stack:
        yield make_team(database, stack)


async def budget_of(world: Team, owner: str) -> OwnedBudget:
    found = await world.store.budgets.of(world.caller.workspace_id, [owner], world.clock.now())
    return found[owner]


async def all_of(world: Team) -> list[Execution]:
    for one in await world.all():
        await world.until(one.id)
    return await world.all()


def spent_by(executions: list[Execution]) -> tuple[int, int, int]:
    return (
        sum(one.charged_tokens for one in executions),
        sum(one.credits for one in executions),
        sum(one.steps for one in executions),
    )


async def test_of_twenty_children_at_once_only_as_many_ask_as_the_credits_of_the_tree_allow(
    team: MakeTeam,
) -> None:
    gate = asyncio.Event()
    researcher = FakeModel(lambda _: ["Hm", gate, "."])
    calls = [call(number, "researcher", input="x") for number in range(20)]
    world = await team(
        {"lead": by_turn(calls, ["Done."]), "researcher": researcher}, LEAD, RESEARCHER
    )
    root = await world.start(budget=Budget(max_credits=0.4))
    children = await world.below(root, 20)
    failed = [one for one in [await world.get(c.id) for c in children] if one.error]
    async with asyncio.timeout(BOUND):
        while len(failed) < 17:
            failed = [one for one in [await world.get(c.id) for c in children] if one.error]
            await asyncio.to_thread(int)
    assert researcher.open == 3
    assert len(researcher.requests) == 3
    shown = failed[0].error
    assert shown is not None
    assert shown.code == "budget_exceeded"
    assert shown.message.startswith(
        f"The budget of execution {root} and what it has called, 0.4 credits, is spent (0.015 used"
    )
    gate.set()
    ended = await world.until(root)
    assert ended.error is not None, "the tree is closed"
    assert ended.error.code == "budget_exceeded"
    assert root in ended.error.message
    budget = await budget_of(world, root)
    assert budget.reserved == NO_AMOUNTS
    executions = await all_of(world)
    tokens, credits_, steps = spent_by(executions)
    assert (budget.spent.tokens, budget.spent.credits, budget.spent.steps) == (
        tokens,
        credits_,
        steps,
    )
    assert credits_ == 4 * 15 * 1_000_000


@pytest.mark.parametrize(
    ("budget", "left"),
    [
        (Budget(max_steps=3), "3 steps, is spent (2 used, 1 reserved)"),
        (Budget(max_tokens=140), "140 tokens, is spent (30 used"),
    ],
)
async def test_a_child_and_its_parent_spend_the_steps_and_tokens_of_one_tree(
    team: MakeTeam, budget: Budget, left: str
) -> None:
    researcher = agent("researcher", tool("look"), settings=SHORT)
    world = await team(
        {
            "lead": by_turn([call(1, "researcher", input="x")], ["Done."]),
            "researcher": by_turn([call(2, "look")], ["Found."]),
        },
        LEAD,
        researcher,
        tools=FakeTools(researcher=CHILD, look=lambda _: "a"),
    )
    root = await world.start(budget=budget)
    ended = await world.until(root)
    (child,) = await world.below(root, 1)
    assert child.error is not None
    assert child.error.code == "budget_exceeded"
    assert left in child.error.message
    assert ended.error is not None
    assert ended.error.code == "budget_exceeded"
    assert (await budget_of(world, root)).reserved == NO_AMOUNTS


async def test_an_answer_with_more_calls_than_the_tree_has_steps_begins_none(
    team: MakeTeam,
) -> None:
    ran: list[Any] = []
    researcher = agent("researcher", tool("look"), settings=SHORT, limits=MANY)
    many = [call(number, "look") for number in range(2, 42)]
    world = await team(
        {
            "lead": by_turn([call(1, "researcher", input="x")], ["Done."]),
            "researcher": by_turn(many, ["Found."]),
        },
        LEAD,
        researcher,
        tools=FakeTools(researcher=CHILD, look=ran.append),
    )
    root = await world.start(budget=Budget(max_steps=30))
    await world.until(root)
    (child,) = await world.below(root, 1)
    assert not ran
    assert child.error is not None
    assert child.error.message.endswith(
        "30 steps, is spent (2 used, 1 reserved). The answer's 40 tool calls would pass it; none "
        "was begun."
    )
    steps = await world.store.executions.steps(world.caller.workspace_id, child.id)
    assert len(steps) == 1, "the answer, without its calls"
    assert (await budget_of(world, root)).spent.steps == sum(
        one.steps for one in await all_of(world)
    )


async def test_an_answer_is_bounded_to_what_the_tree_has_left_but_not_below_256_tokens(
    team: MakeTeam,
) -> None:
    researcher = FakeModel(lambda _: ["Found."])
    lead = FakeModel(
        lambda request: ["Done."] if heard(request) else [call(1, "researcher", input="x")]
    )
    world = await team(
        {"lead": lead, "researcher": researcher},
        agent("lead", agent_tool("researcher")),
        agent("researcher"),
    )
    root = await world.start(budget=Budget(max_tokens=1000))
    assert (await world.until(root)).status is Status.COMPLETED
    (bounded,) = [request.settings["max_tokens"] for request in researcher.requests]
    assert 900 < bounded < 985
    other = await world.start(budget=Budget(max_tokens=270))
    assert (await world.until(other)).status is Status.FAILED
    (child,) = await world.below(other, 1)
    assert child.error is not None
    assert child.error.code == "budget_exceeded"
    assert len(researcher.requests) == 1


async def test_a_cancelled_tree_keeps_what_was_spent_and_reserves_nothing(
    team: MakeTeam,
) -> None:
    gate = asyncio.Event()
    world = await team(
        {
            "lead": by_turn([call(1, "researcher", input="x")], ["Done."]),
            "researcher": lambda _: ["So much text", gate],
        },
        LEAD,
        RESEARCHER,
    )
    root = await world.start(budget=Budget(max_credits=10))
    (child,) = await world.below(root, 1)
    await world.until(child.id, Status.RUNNING)
    async with asyncio.timeout(BOUND):
        while (held := (await budget_of(world, root)).reserved).tokens < 100:
            await asyncio.to_thread(int)
    before = (await budget_of(world, root)).spent
    await world.executions.cancel(world.caller, root)
    executions = await all_of(world)
    budget = await budget_of(world, root)
    assert budget.reserved == NO_AMOUNTS
    assert (budget.spent.tokens, budget.spent.credits, budget.spent.steps) == spent_by(executions)
    charged = budget.spent - before
    assert 0 < charged.tokens <= held.tokens, "the estimate is within what was reserved"
    assert 0 < charged.credits <= held.credits


async def test_a_priced_call_that_waits_for_a_person_stays_reserved_until_it_is_decided(
    team: MakeTeam,
) -> None:
    lead = agent("lead", agent_tool("researcher"), tool("pay", approval=True), settings=SHORT)
    world = await team(
        {
            "lead": by_turn([call(1, "researcher", input="x"), call(2, "pay")], ["Done."]),
            "researcher": lambda _: ["Found."],
        },
        lead,
        RESEARCHER,
        tools=FakeTools(researcher=CHILD, pay=lambda _: "paid"),
        prices=Prices({}, {"pay": 3 * NANO}),
    )
    root = await world.start(budget=Budget(max_credits=10))
    await world.until((await world.below(root, 1))[0].id)
    await world.until(root, Status.SUSPENDED)
    assert (await budget_of(world, root)).reserved.credits == 3 * NANO
    await world.core.services.approvals.decide(
        world.caller, root, call(2, "pay").id, Decision(approved=True)
    )
    await world.until(root)
    budget = await budget_of(world, root)
    assert budget.reserved == NO_AMOUNTS
    assert budget.spent.credits == sum(one.credits for one in await all_of(world))
    assert budget.spent.credits > 3 * NANO


async def test_overlapping_seconds_of_a_tree_count_once_and_end_it(team: MakeTeam) -> None:
    gate = asyncio.Event()
    calls = [call(number, "researcher", input="x") for number in (1, 2)]
    world = await team(
        {"lead": by_turn(calls, ["Done."]), "researcher": lambda _: ["Hm", gate, "."]},
        LEAD,
        RESEARCHER,
    )
    root = await world.start(budget=Budget(max_seconds=60))
    first, second = await world.below(root, 2)
    for child in (first, second):
        await world.until(child.id, Status.RUNNING)
    async with asyncio.timeout(BOUND):
        while (await budget_of(world, root)).reserved.tokens < 200:
            await asyncio.to_thread(int)

    async def passes() -> int:
        """Five seconds, once the budget has them, or the child has ended."""
        before = (await budget_of(world, root)).spent_millis
        world.clock.advance(5)
        async with asyncio.timeout(BOUND):
            while (spent := (await budget_of(world, root)).spent_millis) == before:
                if (await world.get(first.id)).status is not Status.RUNNING:
                    break
                await between_looks()
        return spent

    while await passes() < 50_000:
        assert not [one for one in await world.all() if one.error]
    while (await world.get(first.id)).status is Status.RUNNING:
        assert await passes() <= 70_000, "not twice as much"
    ended = await world.until(root)
    assert (await budget_of(world, root)).spent_millis >= 59_000
    failed = await world.until(second.id)
    assert failed.error is not None
    assert failed.error.code == "budget_exceeded"
    assert root in failed.error.message
    assert ended.error is not None
    assert ended.error.code == "budget_exceeded"
