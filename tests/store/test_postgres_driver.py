"""Postgres: refusals, timeouts and disconnects, each reported as what it is; loops that go on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from outlast.duty import Failures
from outlast.engine.dispatch.procrastinate.jobs import Jobs
from outlast.model.error import Overloaded, Refused
from outlast.store.driver import Query, Statement, Transaction, TransactionResult
from outlast.store.idempotency import Idempotency
from outlast.store.listeners import Committed, Listeners
from outlast.store.postgres.driver import PostgresDriver
from outlast.store.postgres.order import Order
from outlast.store.postgres.patience import PatientConnection
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.databases import POSTGRESQL, Database
from tests.support.store import WORKSPACE, new
from tests.support.waiting import BOUND, until, until_found

pytestmark = [pytest.mark.anyio, pytest.mark.only(POSTGRESQL)]
PIDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"


class Sql(Statement):
    """A statement of a test, as text."""

    answers = True


def running(statement: str, **values: Any) -> Callable[[], Transaction[Any]]:
    made = Sql(text(statement))

    def script() -> Transaction[Any]:
        rows = yield Query(made, values)
        return TransactionResult(rows)

    return script


@asynccontextmanager
async def opened(database: Database, **more: Any) -> AsyncIterator[PostgresDriver]:
    driver = PostgresDriver(database.url, **more)
    await driver.open()
    try:
        yield driver
    finally:
        await driver.close()


async def test_what_looks_at_the_schema_listens_and_nothing_more_is_opened(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    connect = PatientConnection.connect

    async def counted(url: str, **more: Any) -> PatientConnection:
        made.append(url)
        return await connect(url, **more)

    def migrated(_: str) -> None:
        raise AssertionError("it has this version's schema")

    monkeypatch.setattr(PatientConnection, "connect", counted)
    monkeypatch.setattr("outlast.store.postgres.driver.migrate", migrated)
    driver = PostgresDriver(database.url)
    driver.listen(Listeners(lambda _: None, lambda _: None))
    await driver.open()
    try:
        await until(lambda: driver.listens)
        assert len(made) <= 2, "the pool's first, and the one that listens"
    finally:
        await driver.close()


@pytest.mark.parametrize(
    ("statement", "values", "said"),
    [
        ("SELECT CAST(%(n)s AS bigint)", {"n": 10**30}, "numeric value out of range"),
        ("SELECT 1 / CAST(%(n)s AS int)", {"n": 0}, "division by zero"),
        ("SELECT CAST(%(t)s AS text)", {"t": "\ud83d"}, "unicode encode error"),
        ("SELECT CAST(%(t)s AS text)", {"t": "a\x00b"}, "data error"),
        ("SELECT CAST(%(t)s AS jsonb)", {"t": "secret"}, "invalid text representation"),
        ("SELECT * FROM nothing", {}, 'relation "nothing" does not exist'),
        ("INSERT INTO compatibility (oldest) VALUES (NULL) RETURNING 1", {}, "not-null constraint"),
        (
            "INSERT INTO workspaces VALUES ('a', 'b', 'none', 1) RETURNING 1",
            {},
            'check constraint "ck_workspaces_plan"',
        ),
        ("SELECT repeat('x', 1073741820)", {}, "program limit exceeded"),
    ],
)
async def test_what_the_database_will_never_take_is_a_refusal_without_content(
    database: Database, statement: str, values: dict[str, Any], said: str
) -> None:
    async with opened(database, pool_size=1) as driver:
        before = await driver.read(running("SELECT pg_backend_pid()"))
        statement = statement.replace("%(", ":").replace(")s", "")
        with pytest.raises(Refused) as refused:
            await driver.write(running(statement, **values))
        assert said in refused.value.message
        assert "secret" not in refused.value.message
        assert refused.value.code == "internal_error"
        assert await driver.read(running("SELECT pg_backend_pid()")) == before, "not drained"


async def test_a_row_that_is_there_already_is_refused_after_some_tries(database: Database) -> None:
    insert = "INSERT INTO workspaces VALUES ('a', 'b', 'starter', 1) RETURNING id"
    async with opened(database) as driver:
        await driver.write(running(insert))
        with pytest.raises(Refused, match="unique constraint"):
            await driver.write(running(insert))


@pytest.mark.parametrize("setting", ["statement_timeout", "lock_timeout"])
async def test_a_timeout_is_reported_as_one_and_others_keep_their_connections(
    database: Database, setting: str
) -> None:
    slow = "SELECT pg_sleep(20)"
    if "lock" in setting:
        slow = "SELECT 1 FROM (SELECT pg_advisory_xact_lock(7)) AS taken"
    with psycopg.connect(database.url) as holder:
        holder.execute("SELECT pg_advisory_lock(7)")
        async with opened(database, pool_size=2) as driver:
            sleeping = asyncio.create_task(driver.read(running("SELECT pg_sleep(1)")))
            await driver.read(running("SELECT 1"))

            def script() -> Transaction[Any]:
                yield Query(Sql(text("SELECT set_config(:name, '50ms', true)")), {"name": setting})
                yield Query(Sql(text(slow)), {})
                return TransactionResult(None)

            with pytest.raises(Overloaded, match="took too long"):
                await driver.write(script)
            assert driver._pool is not None
            await sleeping
            assert driver._pool.get_stats()["pool_size"] >= 1
            assert driver._answers(), "others do not fail with a database that is away"


async def test_the_server_ends_a_statement_before_we_hang_up(database: Database) -> None:
    async with opened(database) as driver:
        [(found,)] = await driver.read(running("SELECT current_setting('statement_timeout')"))
    assert found == "9s"


async def test_a_shorter_timeout_of_the_operator_stays(database: Database) -> None:
    database.alter("ALTER ROLE CURRENT_USER SET statement_timeout TO '3s'")
    try:
        async with opened(database) as driver:
            [(found,)] = await driver.read(running("SELECT current_setting('statement_timeout')"))
    finally:
        database.alter("ALTER ROLE CURRENT_USER RESET statement_timeout")
    assert found == "3s"


async def test_a_connection_that_is_ended_is_replaced_and_the_statement_run_again(
    database: Database,
) -> None:
    async with opened(database) as driver:
        [(pid,)] = await driver.read(running("SELECT pg_backend_pid()"))
        database.rows(f"SELECT pg_terminate_backend({pid})")
        [(other,)] = await driver.write(running("SELECT pg_backend_pid()"))
    assert other != pid


@pytest.mark.parametrize("level", ["serializable", "repeatable read"])
async def test_a_transaction_says_its_level(database: Database, level: str) -> None:
    name = database.url.rpartition("/")[2]
    database.alter(f"ALTER DATABASE {name} SET default_transaction_isolation TO '{level}'")
    async with opened(database) as driver:
        [(found,)] = await driver.write(running("SELECT current_setting('transaction_isolation')"))
        await driver.ping()
    assert found == "read committed"


async def test_a_database_that_takes_no_writes_is_not_ready(database: Database) -> None:
    name = database.url.rpartition("/")[2]
    database.alter(f"ALTER DATABASE {name} SET default_transaction_read_only TO on")
    async with opened(database) as driver:
        with pytest.raises(Overloaded, match="accepts no writes"):
            await driver.ping()
        with pytest.raises(Overloaded, match="read-only"):
            await driver.write(running("DELETE FROM workspaces RETURNING 1"))
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only TO off")
            connection.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")

        async def answers() -> bool:
            """Drop the connections; one that is just being made escapes."""
            assert driver._pool is not None
            await driver._pool.drain()
            try:
                await driver.ping()
            except Overloaded:
                return False
            return True

        assert await until_found(answers)


async def test_one_idempotency_key_at_once_gives_the_replay_with_the_real_queue(
    database: Database,
) -> None:
    clock = FakeClock()
    async with opened(database, enqueue=Jobs().enqueue) as driver:
        store = Store.over(driver)
        for round_ in range(10):
            promise = Idempotency("key_1", f"k{round_}", "digest")
            made = await asyncio.gather(
                *(store.executions.create(new(clock, idempotency=promise)) for _ in range(16))
            )
            assert sum(not one.replayed for one in made) == 1
            assert len({one.execution.id for one in made}) == 1
    assert database.rows("SELECT count(*) FROM procrastinate_jobs") == [(10,)]


# --- listeners and loops


async def test_a_measure_that_raises_keeps_no_write_from_its_answer(database: Database) -> None:
    def measured(_seconds: float, _count: int) -> None:
        raise ZeroDivisionError

    async with opened(database, measured=measured) as driver:
        assert await driver.write(running("SELECT 7")) == [(7,)]


async def test_a_notification_that_cannot_be_sent_is_counted_and_the_next_one_is_sent(
    database: Database,
) -> None:
    failures, clock = Failures(), FakeClock()
    commit_log: asyncio.Queue[str] = asyncio.Queue()
    async with (
        opened(database, failures=failures) as driver,
        listening(database, lambda commit: commit_log.put_nowait(commit.execution_id)),
    ):
        store, send = Store.over(driver), driver._announcer._send

        async def broken(_: list[str]) -> None:
            raise ZeroDivisionError

        driver._announcer._send = broken
        await store.executions.create(new(clock))
        await driver._announcer.stop()
        assert failures.counts == {"announce_commits": 1}
        driver._announcer._send = send
        made = await store.executions.create(new(clock))
        async with asyncio.timeout(BOUND):
            assert await commit_log.get() == made.execution.id


@asynccontextmanager
async def listening(
    database: Database, committed: Callable[[Committed], None], failures: Failures | None = None
) -> AsyncIterator[PostgresDriver]:
    ready = asyncio.Event()
    driver = PostgresDriver(database.url, failures=failures)
    driver.listen(Listeners(committed, lambda _: None, missed=ready.set))
    await driver.open()
    try:
        async with asyncio.timeout(BOUND):
            await ready.wait()
        yield driver
    finally:
        await driver.close()


@pytest.mark.parametrize("error", [ZeroDivisionError, RuntimeError, asyncio.CancelledError])
async def test_the_listener_goes_on_whatever_its_loop_raises(
    database: Database, error: type[BaseException]
) -> None:
    failures, clock = Failures(), FakeClock()
    commit_log: asyncio.Queue[str] = asyncio.Queue()
    async with (
        opened(database) as speaking,
        listening(
            database, lambda commit: commit_log.put_nowait(commit.execution_id), failures
        ) as it,
    ):
        receive, raised = it._listener._receive, asyncio.Event()

        def broken(_: Any) -> None:
            it._listener._receive = receive  # type: ignore[method-assign]
            raised.set()
            raise error

        it._listener._receive = broken  # type: ignore[method-assign, assignment]
        store = Store.over(speaking)
        await store.executions.create(new(clock))
        async with asyncio.timeout(BOUND):
            await raised.wait()
            while True:
                made = await store.executions.create(new(clock))
                try:
                    async with asyncio.timeout(0.2):
                        assert await commit_log.get()
                        break
                except TimeoutError:
                    continue
        assert failures.counts["receive_commits"] == 1
        assert await store.executions.get(WORKSPACE, made.execution.id) == made.execution


@pytest.mark.parametrize("payload", ["", "[]", "null", '{"from": 1}', '{"from":"x","entries":5}'])
async def test_a_notification_that_says_nothing_sends_followers_to_the_log(
    database: Database, payload: str
) -> None:
    missed: asyncio.Queue[None] = asyncio.Queue()
    driver = PostgresDriver(database.url)
    driver.listen(Listeners(lambda _: None, lambda _: None, missed=lambda: missed.put_nowait(None)))
    await driver.open()
    try:
        async with asyncio.timeout(BOUND):
            await missed.get()  # it listens
            with capture_logs() as logs:
                with psycopg.connect(database.url, autocommit=True) as connection:
                    connection.execute("SELECT pg_notify('outlast', %s)", (payload,))
                await missed.get()
    finally:
        await driver.close()
    assert "notification.unread" in {line["event"] for line in logs}


# --- the order of writes


async def test_a_write_that_is_cancelled_while_it_waits_frees_none_before_the_first_is_done() -> (
    None
):
    order, done = Order(), asyncio.Event()
    happened: list[str] = []

    async def write(name: str, keys: list[str], after: Callable[[], Awaitable[Any]]) -> None:
        async with order.turn(keys):
            await after()
            happened.append(name)

    async def at_once() -> None:
        pass

    first = asyncio.create_task(write("first", ["a"], done.wait))
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(write("never", ["a", "b"], at_once)) for _ in range(3)]
    await asyncio.sleep(0)
    last = [
        asyncio.create_task(write("a", ["a"], at_once)),
        asyncio.create_task(write("b", ["b"], at_once)),
    ]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    for _ in range(10):
        await asyncio.sleep(0)
    assert happened == []
    done.set()
    async with asyncio.timeout(BOUND):
        await asyncio.gather(first, *last)
    assert happened[0] == "first"
    assert sorted(happened) == ["a", "b", "first"]
    assert not order._last, "nothing is kept"
