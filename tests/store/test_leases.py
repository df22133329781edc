"""The lease of maintenance on a real Postgres: one process leads, and another one soon after it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from outlast.duty import Failures
from outlast.engine.maintenance.leader import LeaseLeader, lease_seconds
from outlast.model.error import Overloaded
from outlast.store.driver import Driver
from outlast.store.leases import Candidate, Lease, Leases
from outlast.store.listeners import Listeners
from tests.support.databases import Database
from tests.support.waiting import BOUND, until

pytestmark = [pytest.mark.anyio, pytest.mark.only("postgresql")]
ONE, TWO = Candidate("one", works=True), Candidate("two", works=True)
IDLE = Candidate("idle", works=False)


@pytest.fixture
async def leases(database: Database) -> AsyncIterator[Leases]:
    driver = database.driver()
    await driver.open()
    yield Leases(driver)
    await driver.close()


async def test_the_first_takes_it_and_renews_it_and_the_second_does_not(leases: Leases) -> None:
    assert await leases.held() is None
    assert await leases.take(ONE, 30_000, 0)
    assert not await leases.take(TWO, 30_000, 0)
    assert await leases.take(ONE, 50_000, 0)
    held = await leases.held()
    assert held is not None
    assert (held.holder, held.works) == ("one", True)
    assert 30_000 < held.left <= 50_000


async def test_of_many_at_once_one_takes_it(database: Database) -> None:
    async with AsyncExitStack() as stack:
        taken = []
        drivers = [database.driver() for _ in range(6)]
        for driver in drivers:
            await driver.open()
            stack.push_async_callback(driver.close)
        for _ in range(3):
            wins = await asyncio.gather(
                *(
                    Leases(driver).take(Candidate(f"c{number}", works=True), 30_000, 0)
                    for number, driver in enumerate(drivers)
                )
            )
            taken.append(wins)
        assert [sum(wins) for wins in taken] == [1, 1, 1]
        assert taken[0] == taken[1] == taken[2]


async def test_a_released_lease_is_taken_at_once_and_only_its_holder_releases(
    leases: Leases,
) -> None:
    assert await leases.take(ONE, 30_000, 0)
    await leases.release(TWO)
    assert not await leases.take(TWO, 30_000, 0)
    await leases.release(ONE)
    assert await leases.take(TWO, 30_000, 0)
    await leases.release(ONE)
    assert not await leases.take(ONE, 30_000, 0)


async def test_a_process_without_work_waits_and_gives_way_to_one_that_works(
    leases: Leases,
) -> None:
    assert await leases.take(IDLE, 30_000, 0)
    assert await leases.take(ONE, 30_000, 0)
    assert not await leases.take(IDLE, 30_000, 0)
    await leases.release(ONE)
    assert not await leases.take(IDLE, 30_000, 30_000)
    assert await leases.take(IDLE, 30_000, 0)


async def test_a_lease_from_before_the_clock_was_set_back_is_free(
    leases: Leases, database: Database
) -> None:
    assert await leases.take(ONE, 30_000, 0)
    database.rows("UPDATE maintenance_leases SET expires_at = expires_at + 3600000")
    assert await leases.take(TWO, 30_000, 0)
    database.rows("UPDATE maintenance_leases SET expires_at = expires_at + 3600000")
    async with process(database, works=False) as idle, process(database) as one:
        for candidate in (idle, one):
            await candidate.leader.start()
        assert one.leads


@dataclass
class Process:
    """A candidate with a driver of its own, as a process has."""

    leader: LeaseLeader
    failures: Failures
    driver: Driver

    @property
    def leads(self) -> bool:
        return self.leader.leads


@asynccontextmanager
async def process(
    database: Database, *, works: bool = True, seconds: float = 1.0, leases: Any = Leases
) -> AsyncIterator[Process]:
    driver, failures = database.driver(), Failures()
    leader = LeaseLeader(leases(driver), failures, works=works, seconds=seconds)
    driver.listen(Listeners(lambda _: None, lambda _: None, lease_released=leader.released))
    await driver.open()
    try:
        yield Process(leader, failures, driver)
    finally:
        await leader.stop()
        await driver.close()


@pytest.mark.parametrize("works", [True, False])
async def test_the_only_process_leads_from_its_start_on(database: Database, works: bool) -> None:
    async with process(database, works=works) as one:
        assert not one.leads
        await one.leader.start()
        assert one.leads
        await one.leader.elected()
    assert not one.leads
    async with process(database, works=works) as next_one, asyncio.timeout(BOUND):
        await next_one.leader.start()
        await next_one.leader.elected()


async def test_who_leaves_is_followed_at_once_by_notification(database: Database) -> None:
    async with (
        process(database, seconds=50) as one,
        process(database, seconds=50) as two,
    ):
        await one.leader.start()
        await two.leader.start()
        assert (one.leads, two.leads) == (True, False)
        await until(lambda: bool(getattr(two.driver, "listens", False)))
        await one.leader.stop()  # its lease would have lasted for most of a minute
        async with asyncio.timeout(BOUND):
            await two.leader.elected()
        assert (one.leads, two.leads) == (False, True)


async def test_who_dies_is_followed_within_its_lease(database: Database) -> None:
    async with process(database) as dead, process(database) as heir:
        await dead.leader.start()
        await heir.leader.start()
        await dead.leader._duty.stop()  # as kill -9: it renews no more and releases nothing
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with asyncio.timeout(BOUND):
            await heir.leader.elected()
        assert not dead.leads
        assert loop.time() - began < 3.0  # a lease of 1 s


async def test_a_worker_takes_the_lead_from_a_process_that_runs_nothing(
    database: Database,
) -> None:
    async with process(database, works=False) as api, process(database) as worker:
        await api.leader.start()
        assert api.leads
        await worker.leader.start()
        assert worker.leads
        await until(lambda: not api.leads)


class Breakable(Leases):
    """Cannot reach the database while a test says so."""

    away = False

    async def take(self, candidate: Candidate, millis: int, patience: int) -> bool:
        if self.away:
            raise Overloaded
        return await super().take(candidate, millis, patience)

    async def held(self) -> Lease | None:
        if self.away:
            raise Overloaded
        return await super().held()


async def test_a_leader_that_loses_the_database_leads_no_more_and_comes_back(
    database: Database,
) -> None:
    async with process(database, leases=Breakable) as one, process(database) as two:
        await one.leader.start()
        await two.leader.start()
        assert one.leads
        leases: Any = one.leader._leases
        leases.away = True
        async with asyncio.timeout(BOUND):
            await two.leader.elected()
        assert not one.leads
        assert one.failures.counts["elect_leader"] >= 1
        leases.away = False
        await two.leader.stop()
        async with asyncio.timeout(BOUND):
            await one.leader.elected()
        assert (one.leads, two.leads) == (True, False)


async def test_a_process_starts_without_the_database_and_leads_once_it_is_there(
    database: Database,
) -> None:
    async with process(database, leases=Breakable) as one:
        leases: Any = one.leader._leases
        leases.away = True
        await one.leader.start()
        assert not one.leads
        leases.away = False
        async with asyncio.timeout(BOUND):
            await one.leader.elected()


@pytest.mark.parametrize(
    ("takeover", "lease"), [(6.0, 3.0), (3.0, 1.5), (1.0, 1.0), (60.0, 3.0), (4.0, 2.0)]
)
def test_a_lease_ends_before_a_worker_counts_as_silent_and_within_three_seconds(
    takeover: float, lease: float
) -> None:
    assert lease_seconds(takeover) == lease
