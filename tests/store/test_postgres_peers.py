"""Other processes are notified of commits if there are any; without any, nothing is sent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest

from outlast.store.listeners import Committed, Listeners
from outlast.store.postgres.driver import PostgresDriver
from outlast.store.postgres.peers import GONE, HELLO, HERE, Peers
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.databases import POSTGRESQL, Database
from tests.support.store import new

pytestmark = [pytest.mark.anyio, pytest.mark.only(POSTGRESQL)]
BOUND = 30.0


class Moment:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def alone(moment: Moment) -> Peers:
    peers = Peers("a", moment)
    peers.receive("a", HELLO)
    moment.now += 1.0
    return peers


def test_a_process_is_alone_a_while_after_its_hello_has_come_back_and_none_has_answered() -> None:
    moment = Moment()
    peers = Peers("a", moment)
    assert peers.some(), "it has not begun to listen"
    assert peers.receive("a", HELLO) == (False, False)
    moment.now += 0.9
    assert peers.some()
    moment.now += 0.1
    assert not peers.some()


@pytest.mark.parametrize("said", [HELLO, HERE, None])
def test_an_unknown_process_is_answered_and_what_was_missed_is_read(
    said: str | None,
) -> None:
    peers = alone(Moment())
    assert peers.receive("b", said) == (True, True)
    assert peers.some()
    assert peers.receive("b", HERE) == (False, False)
    assert peers.receive("b", None) == (False, False)
    assert peers.receive("b", HELLO) == (True, False), "it has connected anew, and knows no peer"


def test_a_process_that_leaves_or_is_silent_for_long_counts_no_more() -> None:
    moment = Moment()
    peers = alone(moment)
    peers.receive("b", HELLO)
    peers.receive("c", HELLO)
    assert peers.receive("b", GONE) == (False, False)
    assert peers.some()
    moment.now += 64
    assert peers.some()
    moment.now += 2
    assert not peers.some()
    assert peers.receive("c", HERE) == (True, True), "it was frozen, and has missed something"


def test_a_process_that_gets_nothing_counts_as_one_of_many() -> None:
    moment = Moment()
    peers = alone(moment)
    peers.disconnected()
    moment.now += 1000
    assert peers.some()


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
            await asyncio.to_thread(int)
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
                await asyncio.to_thread(int)
            made = await store.executions.create(new(clock))
            while await commit_log.get() != made.execution.id:
                pass
        while peers.some():  # it has said that it is gone
            await asyncio.to_thread(int)


async def test_two_that_come_at_once_hear_of_each_other(database: Database) -> None:
    async with asyncio.timeout(BOUND):
        async with listening(database) as one, listening(database) as two, listening(database) as x:
            for driver in (one, two, x):
                while len(driver._announcer._peers._last_seen) < 2:
                    await asyncio.to_thread(int)


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


def test_pairs_of_messages_end() -> None:
    """Whoever answers an answer does so once."""
    moment = Moment()
    peers: dict[str, Any] = {name: Peers(name, moment) for name in "abc"}
    waiting = [(name, HELLO) for name in "abc"]
    said = 0
    while waiting:
        sender, message = waiting.pop(0)
        said += 1
        for name, one in peers.items():
            if one.receive(sender, message)[0]:
                waiting.append((name, HERE))
    assert said <= 3 + 9
    assert all(len(one._last_seen) == 2 for one in peers.values())
