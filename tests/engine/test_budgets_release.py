"""Roll-backs, deletions and purges release what is reserved of budgets; what is spent stays."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count

import pytest

from outlast import agent_tool
from outlast.agents.port import ModelRequest
from outlast.model.budget import NO_AMOUNTS, Bounds, OwnedBudget
from outlast.model.execution import Budget, Status
from outlast.model.message import ToolMessage, UserMessage
from outlast.model.price import NANO, ModelPrice, Prices
from outlast.model.wait import Decision
from outlast.services.budgets import SetBudget
from outlast.testing import FakeClock
from tests.support.databases import Database
from tests.support.models import FakeModel, Reply
from tests.support.tools import FakeTools, call, tool
from tests.support.trees import CHILD, MakeTeam, Play, Team, agent, make_team
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio

SHORT = {"max_tokens": 100}
FEE = 3 * NANO
"""The price of a payment, which stays reserved while it waits for a person."""


@pytest.fixture
async def team(database: Database) -> AsyncIterator[MakeTeam]:
    async with AsyncExitStack() as stack:
        yield make_team(database, stack)


async def _team(
    team: MakeTeam,
    *gates: asyncio.Event,
    fee: int = FEE,
    model: dict[str, ModelPrice] | None = None,
    clock: FakeClock | None = None,
) -> Team:
    """Agents of which one looks, and then calls a payer."""
    numbers = count(1)

    def calling(*names: str) -> Play:
        def play(request: ModelRequest) -> Reply:
            done = sum(isinstance(one, ToolMessage) for one in request.messages)
            if done == len(names):
                return ["Done."]
            return [call(next(numbers), names[done], input="x")]

        return play

    payer = FakeModel(lambda _: ["So much ", *gates, "text."]) if gates else calling("pay")
    return await team(
        {"lead": calling("look", "payer"), "payer": payer},
        agent("lead", tool("look"), agent_tool("payer"), settings=SHORT),
        agent("payer", tool("pay", approval=True), settings=SHORT),
        tools=FakeTools(look=lambda _: "seen", payer=CHILD, pay=lambda _: "paid"),
        prices=Prices(model or {}, {"pay": fee}),
        clock=clock,
    )


async def _world(team: MakeTeam, *gates: asyncio.Event) -> tuple[Team, str, str]:
    """A root and its child; budgets of the tree, the key and the workspace.

    The child waits for a person, or with gates for its model.
    """
    world = await _team(team, *gates)
    for owner in ("workspace", world.caller.key_id):
        bounds = SetBudget(Bounds(credits=100 * NANO))
        await world.core.services.budgets.set(world.caller, owner, bounds)
    root = await world.start(budget=Budget(max_credits=50))
    (child,) = await world.below(root, 1)
    await world.until(child.id, Status.RUNNING if gates else Status.SUSPENDED)
    await world.until(root, Status.SUSPENDED)
    return world, root, child.id


async def _budgets(world: Team, *owners: str) -> list[OwnedBudget]:
    """Those of the key, the workspace and the owners that have one."""
    workspace_id = world.caller.workspace_id
    names = [*owners, world.caller.key_id, workspace_id]
    found = await world.store.budgets.of(workspace_id, names, world.clock.now())
    return [found[name] for name in names if name in found]


async def _reserved(world: Team, *owners: str) -> set[int]:
    return {budget.reserved.credits for budget in await _budgets(world, *owners)}


async def _spent(world: Team, database: Database, *owners: str) -> int:
    """What the ledger has, and every budget."""
    ((charged,),) = database.rows("SELECT coalesce(sum(credits), 0) FROM charges")
    found = await _budgets(world, *owners)
    assert [budget.spent.credits for budget in found] == [charged] * len(found)
    return int(charged)


async def test_a_roll_back_releases_what_the_child_of_a_superseded_call_has_reserved(
    team: MakeTeam, database: Database
) -> None:
    world, root, child = await _world(team)
    assert await _reserved(world, root) == {FEE}
    before = await _spent(world, database, root)
    await world.executions.pause(world.caller, root)
    _, looked, *_ = await world.executions.checkpoints(world.caller, root)
    await world.executions.resume(world.caller, root, looked.id)
    _, again = await world.below(root, 2)
    await world.until(again.id, Status.SUSPENDED)
    assert (await world.get(child)).superseded
    assert await _reserved(world, root) == {FEE}, "that of the new call alone"
    assert await _spent(world, database, root) > before, "a superseded child stays charged"
    await _paid(world, root)
    await _spent(world, database, root)


async def test_a_pause_and_its_resume_keep_what_the_open_calls_have_reserved(
    team: MakeTeam,
) -> None:
    world, root, _ = await _world(team)
    before = [budget.reserved for budget in await _budgets(world, root)]
    assert {(held.credits, held.steps) for held in before} == {(FEE, 2)}
    await world.executions.pause(world.caller, root)
    await world.executions.resume(world.caller, root)
    assert [budget.reserved for budget in await _budgets(world, root)] == before
    await _paid(world, root)


async def test_a_roll_back_releases_what_a_running_child_has_reserved_once_it_has_ended(
    team: MakeTeam, database: Database
) -> None:
    gate = asyncio.Event()
    world, root, child = await _world(team, gate)
    async with asyncio.timeout(BOUND):
        while 0 in await _reserved(world, root):
            await between_looks()
    (held, *_) = await _budgets(world, root)
    pausing = asyncio.create_task(world.executions.pause(world.caller, root))
    await world.until(root, Status.PAUSED)
    _, looked, *_ = await world.executions.checkpoints(world.caller, root)
    await world.executions.resume(world.caller, root, looked.id)
    ended = await world.until(child)
    assert ended.status is Status.CANCELLED
    assert 0 < ended.charged_tokens <= held.reserved.tokens, "no more than was reserved for it"
    gate.set()
    async with asyncio.timeout(BOUND):
        await pausing
    assert (await world.until(root)).status is Status.COMPLETED
    for budget in await _budgets(world, root):
        assert budget.reserved == NO_AMOUNTS
    assert await _spent(world, database, root) >= ended.credits > 0


@pytest.mark.parametrize("which", ["child", "root"])
@pytest.mark.parametrize("live", [False, True], ids=["cancelled first", "as it is"])
async def test_a_deletion_releases_what_is_reserved_and_leaves_what_is_spent(
    team: MakeTeam, database: Database, which: str, *, live: bool
) -> None:
    world, root, child = await _world(team)
    before = await _spent(world, database, root)
    one, trees = (child, [root]) if which == "child" else (root, [])
    if live:
        await world.store.executions.delete(world.caller.workspace_id, one)
    else:
        await world.executions.delete(world.caller, one)
    if which == "child":
        assert (await world.until(root)).status is Status.COMPLETED
    found = await _budgets(world, root)
    assert len(found) == 2 + len(trees)
    assert {budget.reserved for budget in found} == {NO_AMOUNTS}
    after = await _spent(world, database, *trees)
    assert after > before if which == "child" else after == before


@pytest.mark.parametrize("gated", [False, True], ids=["waits", "runs"])
async def test_a_purge_of_a_live_tree_releases_what_is_reserved_and_leaves_what_is_spent(
    team: MakeTeam, database: Database, *, gated: bool
) -> None:
    world, root, _ = await _world(team, *([asyncio.Event()] if gated else []))
    before = await _spent(world, database, root)
    conversation = (await world.get(root)).conversation_id
    await world.core.services.conversations.delete(world.caller, conversation)
    assert (await world.get(root)).is_purged
    for budget in await _budgets(world, root):
        assert budget.reserved == NO_AMOUNTS
    assert await _spent(world, database) >= before


async def _paid(world: Team, root: str) -> None:
    """Approve the payment; the root ends."""
    (wait,) = (await world.executions.get(world.caller, root)).approvals
    yes = Decision(approved=True)
    await world.core.services.approvals.decide(world.caller, root, wait.tool_call_id, yes)
    assert (await world.until(root)).status is Status.COMPLETED
    assert {budget.reserved for budget in await _budgets(world, root)} == {NO_AMOUNTS}


async def test_a_call_whose_price_changes_meanwhile_is_charged_at_the_new_one_and_holds_nothing(
    database: Database,
) -> None:
    async with AsyncExitStack() as stack:
        world, root, child = await _world(make_team(database, stack))
        assert await _reserved(world, root) == {FEE}
    clock = FakeClock()
    clock.advance(60)
    async with AsyncExitStack() as stack:
        later = await _team(make_team(database, stack), fee=2 * FEE, clock=clock)
        world = Team(later.core, world.caller, clock)
        before = await _spent(world, database, root)
        await _paid(world, root)
        assert await _spent(world, database, root) > before + 2 * FEE
        assert (await world.get(child)).credits > 2 * FEE


async def test_a_request_whose_price_changes_meanwhile_is_charged_at_the_new_one_and_holds_nothing(
    database: Database,
) -> None:
    async with AsyncExitStack() as stack:
        world, root, child = await _world(make_team(database, stack), asyncio.Event())
        async with asyncio.timeout(BOUND):
            while not sum(await _reserved(world, root)):
                await between_looks()
        (held,) = await _reserved(world, root)
    clock = FakeClock()
    clock.advance(60)
    async with AsyncExitStack() as stack:
        dear = {"payer": ModelPrice(NANO // 10, NANO // 10, NANO // 10, NANO // 10)}
        later = await _team(make_team(database, stack), asyncio.Event(), model=dear, clock=clock)
        world = Team(later.core, world.caller, clock)
        async with asyncio.timeout(BOUND):
            while not held < max(await _reserved(world, root)):
                await between_looks()
        await world.executions.cancel(world.caller, root)
        assert {one.reserved for one in await _budgets(world, root)} == {NO_AMOUNTS}
        used = (await world.get(child)).usage
        assert (await world.get(child)).credits == used.total_tokens * NANO // 10
        assert await _spent(world, database, root) > used.total_tokens * NANO // 10


async def test_what_a_revoked_key_has_started_is_counted_in_its_budget_and_holds_nothing(
    team: MakeTeam, database: Database
) -> None:
    world, root, _ = await _world(team)
    key_id = world.caller.key_id
    await world.core.services.keys.revoke(world.caller.workspace_id, key_id)
    before = await _spent(world, database, root)
    await _paid(world, root)
    assert await _spent(world, database, root) > before
    assert len(await _budgets(world, root)) == 3, "the key's is there"


async def test_what_is_released_after_a_budget_was_lowered_below_it_is_not_free(
    team: MakeTeam,
) -> None:
    gates = {"plain": asyncio.Event(), "look": asyncio.Event()}

    def answer(request: ModelRequest) -> Reply:
        match request.messages:
            case (UserMessage("plain"),):
                return ["Hm", gates["plain"]]
            case (UserMessage(),):
                return ["Hm", gates["look"], call(1, "look")]
            case _:
                return ["Done."]

    model = FakeModel(answer)
    lead = agent("lead", tool("look"), settings=SHORT)
    world = await team({"lead": model}, lead, tools=FakeTools(look=lambda _: "a"))
    budgets = world.core.services.budgets

    async def put(tokens: int) -> OwnedBudget:
        bounds = Bounds(tokens=tokens, millis=1_000_000)
        return await budgets.set(world.caller, "workspace", SetBudget(bounds))

    await put(10_000)
    started = [await world.start(text=text) for text in ("plain", "plain", "look")]
    async with asyncio.timeout(BOUND):
        while model.open < len(started):
            await between_looks()
    assert (await put(1)).reserved.tokens > 3 * SHORT["max_tokens"]
    gates["plain"].set()
    for one in started[:2]:
        assert (await world.until(one)).status is Status.COMPLETED
    gates["look"].set()
    ended = await world.until(started[2])
    assert ended.error is not None
    assert ended.error.code == "budget_exceeded"
    left = await budgets.get(world.caller, "workspace")
    assert (left.spent.tokens, left.reserved) == (3 * 15, NO_AMOUNTS)


@pytest.mark.only("sqlite")
@pytest.mark.parametrize("timed", [(None, 1_000_000), (1_000_000, None)])
async def test_what_runs_releases_all_when_its_budget_gets_or_loses_a_bound_of_seconds(
    team: MakeTeam, timed: tuple[int | None, int | None]
) -> None:
    gate = asyncio.Event()
    model = FakeModel(lambda _: ["Hm", gate])
    world = await team({"lead": model}, agent("lead", settings=SHORT))
    budgets = world.core.services.budgets
    before, after = (SetBudget(Bounds(tokens=10_000, millis=one)) for one in timed)
    await budgets.set(world.caller, "workspace", before)
    started = [await world.start() for _ in range(4)]
    async with asyncio.timeout(BOUND):
        while model.open < len(started):
            await between_looks()
    held = (await budgets.get(world.caller, "workspace")).reserved
    assert (await budgets.set(world.caller, "workspace", after)).reserved == held != NO_AMOUNTS
    gate.set()
    for one in started:
        assert (await world.until(one)).status is Status.COMPLETED
    left = await budgets.get(world.caller, "workspace")
    assert (left.spent.tokens, left.reserved) == (4 * 15, NO_AMOUNTS)
