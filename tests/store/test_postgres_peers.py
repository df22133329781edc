"""Other processes are notified of commits if there are any; without any, nothing is sent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest

from outlast.store.listeners import Committed, Listeners
from outlast.store.postgres.driver import PostgresDriver
from outlast.store.postgres.peers import Peers, hello
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.databases import POSTGRESQL, Database
from tests.support.store import new
from tests.support.waiting import between_looks

pytestmark = [pytest.mark.anyio, pytest.mark.only(POSTGRESQL)]
BOUND = 30.0


def test_a_process_that_has_not_counted_counts_as_one_of_many() -> None:
    peers = Peers("a")
    assert peers.some(), "it has not begun to listen"
    peers.counted(1)
    assert not peers.some()
    peers.disconnected()
    assert peers.some()


@pytest.mark.parametrize("kind", ["hello", "commit"])
def test_a_message_shows_another_until_the_next_count(kind: str) -> None:
    peers = Peers("a")
    peers.counted(1)
    peers.receive(hello("b")["from"] if kind == "hello" else "b")
    assert peers.some()
    peers.counted(1)
    assert not peers.some()


def test_what_was_missed_is_read_at_the_first_message_of_each_process() -> None:
    peers = Peers("a")
    peers.counted(3)
    assert [peers.receive(one) for one in "abbcb"] == [False, True, False, True, False]
    for n in range(1000):
        peers.receive(f"restarted {n}")
    assert peers.receive("b"), "senders kept are bounded"


@asynccontextmanager
async def listening(
    database: Database, committed: Callable[[Committed], None] = lambda _: None
) -> AsyncIterator[PostgresDriver]:
    ready = asyncio.Event()
    driver = PostgresDriver(database.url)
    driver.listen(Listeners(committed, lambda _: None, missed=ready.set))
    await driver.open()
    try:
        async with asyncio.timeout(BOUND):
            await ready.wait()
        yield driver
    finally:
        await driver.close()


async def test_a_process_that_is_alone_tells_none_and_one_that_comes_is_notified(
    database: Database,
) -> None:
    clock, commit_log = FakeClock(), asyncio.Queue[str]()
    async with asyncio.timeout(BOUND), listening(database) as first:
        store, peers = Store.over(first), first._announcer._peers
        while peers.some():
            await between_looks()
        sent: list[list[str]] = []
        send = first._announcer._send

        async def counted(payloads: list[str]) -> None:
            sent.append(payloads)
            await send(payloads)

        first._announcer._send = counted
        for _ in range(5):
            await store.executions.create(new(clock))
        await first._announcer.stop()
        assert sent == []
        async with listening(database, lambda one: commit_log.put_nowait(one.execution_id)):
            while not peers.some():
                await between_looks()
            made = await store.executions.create(new(clock))
            while await commit_log.get() != made.execution.id:
                pass
        while peers.some():  # the other is counted no more
            await between_looks()


async def test_processes_that_come_at_once_count_each_other(database: Database) -> None:
    async with asyncio.timeout(BOUND), listening(database) as one, listening(database) as two:
        async with listening(database) as three:
            for driver in (one, two, three):
                while driver._announcer._peers._count != 3:
                    await between_looks()
        for driver in (one, two):  # a process that has left is not counted
            while driver._announcer._peers._count != 2:
                await between_looks()


async def test_a_newcomer_reads_the_log_again_once_its_hello_was_handled(
    database: Database,
) -> None:
    """A process that was alone has not notified of commits until it knew of this one."""
    async with asyncio.timeout(BOUND), listening(database) as alone:
        while alone._announcer._peers.some():
            await between_looks()
        missed = asyncio.Semaphore(0)
        newcomer = PostgresDriver(database.url)
        newcomer.listen(Listeners(lambda _: None, lambda _: None, missed=missed.release))
        await newcomer.open()
        try:
            await missed.acquire()
            await missed.acquire()
            assert alone._announcer._peers.some()
        finally:
            await newcomer.close()


@pytest.mark.parametrize("cut", ["one", "all"])
async def test_a_listener_that_was_cut_off_is_notified_again(database: Database, cut: str) -> None:
    """Between the cut and its hello, commits are notified as to one of many; then as before."""
    clock, commit_log = FakeClock(), set[str]()
    async with (
        asyncio.timeout(BOUND),
        listening(database) as speaking,
        listening(database, lambda commit: commit_log.add(commit.execution_id)),
    ):
        store = Store.over(speaking)
        with psycopg.connect(database.url, autocommit=True) as connection:
            listeners = connection.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND query ~ 'pg_notify|LISTEN|SELECT 1'"
            ).fetchall()
            for (pid,) in listeners[: None if cut == "all" else 1]:
                connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
        ids: list[str] = []
        while not commit_log & set(ids[-2:]):
            ids.append((await store.executions.create(new(clock))).execution.id)
            await asyncio.to_thread(int)
