"""Moves that meet on a budget: nothing stays reserved, and none waits for another in a circle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import psycopg
import pytest

from outlast.model.budget import NO_AMOUNTS, Bounds, OwnedBudget
from outlast.model.charge import Charge
from outlast.model.execution import Status
from outlast.model.usage import Usage
from outlast.services.budgets import SetBudget
from outlast.store.budgets.shares import SHARES, share_of
from outlast.store.request_charges import RequestCharge
from tests.support.databases import POSTGRESQL, Database
from tests.support.models import FakeModel
from tests.support.recording import HoldingDriver, holding
from tests.support.trees import MakeTeam, Team, agent, make_team, said
from tests.support.waiting import BOUND, between_looks, until

pytestmark = pytest.mark.anyio

SHORT = {"max_tokens": 100}
LONG = 10**9
DEADLOCKS = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
BLOCKED = """SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND datname = current_database()"""


@pytest.fixture
async def team(database: Database) -> AsyncIterator[MakeTeam]:
    async with AsyncExitStack() as stack:
        yield make_team(database, stack)


async def _set(world: Team, **bounds: int | None) -> OwnedBudget:
    given = SetBudget(Bounds(**bounds))
    return await world.core.services.budgets.set(world.caller, "workspace", given)


async def _remove(world: Team) -> None:
    await world.core.services.budgets.remove(world.caller, "workspace")
    world.clock.advance(1)


async def _left(world: Team) -> OwnedBudget:
    return await world.core.services.budgets.get(world.caller, "workspace")


async def _open(model: FakeModel, number: int) -> None:
    async with asyncio.timeout(BOUND):
        while model.open < number:
            await between_looks()


@pytest.mark.parametrize(
    "after", [{"millis": LONG}, {"tokens": 10_000, "millis": LONG}], ids=["seconds", "both"]
)
@pytest.mark.parametrize("how", ["comes", "goes", "is removed"])
async def test_a_bound_of_seconds_that_comes_or_goes_before_a_reservation_leaves_nothing_reserved(
    team: MakeTeam, after: dict[str, int], how: str
) -> None:
    held: list[HoldingDriver] = []

    gate = asyncio.Event()
    model = FakeModel(lambda _: ["Hm", gate])
    world = await team(
        {"lead": model}, agent("lead", settings=SHORT), store=holding("reserve_in_one", held)
    )
    bounds: list[dict[str, int]] = [{"tokens": 10_000}, after]
    first, second = reversed(bounds) if how == "goes" else bounds
    await _set(world, **first)
    started = [await world.start() for _ in range(4)]
    await until(lambda: held[0].holds == len(started))
    if how == "is removed":
        await _remove(world)
    await _set(world, **second)
    held[0].gate.set()
    await _open(model, len(started))
    assert (await _left(world)).reserved != NO_AMOUNTS
    await _set(world, **first)
    await _set(world, **second)
    gate.set()
    for one in started:
        assert (await world.until(one)).status is Status.COMPLETED
    left = await _left(world)
    assert (left.spent.tokens, left.reserved) == (4 * 15, NO_AMOUNTS)


async def test_what_was_reserved_before_a_budget_was_removed_is_not_released_in_the_next_one(
    team: MakeTeam,
) -> None:
    gates = {"old": asyncio.Event(), "new": asyncio.Event()}
    model = FakeModel(lambda request: ["Hm", gates[said(request)]])
    world = await team({"lead": model}, agent("lead", settings=SHORT))
    bounds = {"tokens": 10_000, "millis": LONG}  # of time: so all spend from one share
    await _set(world, **bounds)
    old = await world.start(text="old")
    await _open(model, 1)
    await _remove(world)
    await _set(world, **bounds)
    new = await world.start(text="new")
    await _open(model, 2)
    held = (await _left(world)).reserved
    for one, name in ((old, "old"), (new, "new")):
        assert (await _left(world)).reserved == held != NO_AMOUNTS
        gates[name].set()
        assert (await world.until(one)).status is Status.COMPLETED
    left = await _left(world)
    assert (left.spent.tokens, left.reserved) == (2 * 15, NO_AMOUNTS)


async def _blocked(database: Database, number: int) -> None:
    """Wait until so many transactions wait for a lock."""
    async with asyncio.timeout(BOUND):
        while database.rows(BLOCKED) != [(number,)]:
            await between_looks()


@pytest.mark.only(POSTGRESQL)
async def test_a_bound_of_seconds_that_comes_within_a_move_leaves_nothing_reserved(
    team: MakeTeam, database: Database
) -> None:
    gate = asyncio.Event()
    model = FakeModel(lambda _: ["Hm", gate])
    world = await team({"lead": model}, agent("lead", settings=SHORT))
    await _set(world, tokens=10_000)
    root = await world.start()
    while share_of(root, SHARES) == 0:
        root = await world.start()
    await _open(model, len(await world.all()))
    async with await psycopg.AsyncConnection.connect(database.url) as other:
        await other.execute(
            "SELECT 1 FROM budget_shares WHERE share = %s FOR UPDATE", [share_of(root, SHARES)]
        )
        putting = asyncio.create_task(_set(world, tokens=10_000, millis=LONG))
        await _blocked(database, 1)
        gate.set()
        await _blocked(database, 2)
    await asyncio.wait_for(putting, BOUND)
    for one in await world.all():
        assert (await world.until(one.id)).status is Status.COMPLETED
    left = await _left(world)
    assert (left.spent.tokens, left.reserved) == (15 * len(await world.all()), NO_AMOUNTS)


@pytest.mark.only(POSTGRESQL)
async def test_what_finds_its_share_used_up_behind_another_keeps_no_lock_of_it(
    team: MakeTeam, database: Database
) -> None:
    world = await team({"lead": FakeModel(lambda _: ["Hm"])}, agent("lead"))
    await _set(world, tokens=800)
    charge = Charge("step_1", None, "model", "small", 7, 1, Usage(7))
    number = share_of(charge.id, SHARES)
    wanted = RequestCharge(world.caller.workspace_id, None, charge)
    async with await psycopg.AsyncConnection.connect(database.url) as other:
        await other.execute(
            "UPDATE budget_shares SET spent_tokens = granted_tokens WHERE share = %s", [number]
        )
        reserving = asyncio.create_task(world.store.request_charges.reserve(wanted))
        await _blocked(database, 1)
        putting = asyncio.create_task(_set(world, tokens=801))
        await _blocked(database, 2)
    assert await asyncio.wait_for(reserving, BOUND)
    await asyncio.wait_for(putting, BOUND)
    assert database.rows(DEADLOCKS) == [(0,)]
    left = await _left(world)
    assert (left.spent.tokens, left.reserved.tokens) == (100, 7)
