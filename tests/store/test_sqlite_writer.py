"""The writer's thread: group commits, refusals, and what it does when everything fails."""

import asyncio
import sqlite3
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from outlast.model.error import Conflict, NotFound, Overloaded, Refused
from outlast.store.driver import Transaction
from outlast.store.sqlite import SqliteDriver, connection
from tests.support.sqlite import (
    HeldWriter,
    StatementTrace,
    bound,
    driver_on,
    missing,
    named,
    names,
    too_late,
    zeros,
)
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outlast.db"


async def in_one_batch(driver: SqliteDriver, *scripts: Any) -> list[Any]:
    """What becomes of scripts that are committed together."""
    held = HeldWriter()
    holding = asyncio.create_task(driver.write(held.script))
    await asyncio.to_thread(held.reached.wait, BOUND)
    writes = [asyncio.create_task(driver.write(script)) for script in scripts]
    await asyncio.sleep(0)  # each has put its script into the queue
    held.go.set()
    await holding
    async with asyncio.timeout(BOUND):
        return await asyncio.gather(*writes, return_exceptions=True)


@pytest.mark.parametrize(
    ("failing", "error", "tries"), [(missing, NotFound, 1), (too_late, Conflict, 2)]
)
async def test_what_fails_in_a_group_commit_leaves_it_one_commit(
    path: Path, monkeypatch: pytest.MonkeyPatch, failing: Any, error: type[Exception], tries: int
) -> None:
    trace = StatementTrace(monkeypatch)
    async with driver_on(path) as driver:
        scripts = [s for n in range(128) for s in (named(f"w{n}"), failing)]
        trace.statements.clear()
        answers = await in_one_batch(driver, *scripts)
        assert trace.count("COMMIT") == 2, "the held one's and the batch's"
        assert trace.count("BEGIN IMMEDIATE") == 1 + tries
        assert all(type(answer) is error for answer in answers[1::2])
        assert [answer.name for answer in answers[::2]] == [f"w{n}" for n in range(128)]
    assert names(path) == {f"w{n}" for n in range(128)}, "nothing is half done"


async def test_what_one_turn_of_the_event_loop_writes_is_one_commit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = StatementTrace(monkeypatch)
    async with driver_on(path) as driver:
        await driver.write(named("first"))
        trace.statements.clear()
        await asyncio.gather(*(driver.write(named(f"w{n}")) for n in range(20)))
        assert trace.count("COMMIT") == 1
        closing_driver = asyncio.create_task(driver.write(named("last")))
        await asyncio.sleep(0)  # it is written in this turn, in which the driver closes
    await closing_driver
    assert names(path) == {"first", "last", *(f"w{n}" for n in range(20))}


async def test_what_a_write_did_before_it_failed_is_undone_where_it_is_alone(path: Path) -> None:
    async with driver_on(path) as driver:
        with pytest.raises(Conflict):
            await driver.write(too_late)
        await driver.write(named("next"))
    assert names(path) == {"next"}


REFUSED = {
    "an integer beyond 64 bits": bound(2**63),
    "a negative one": bound(-(2**64)),
    "text that cannot be encoded": bound("caf\udce9"),
    "a value of no kind that SQLite has": bound(object()),
    "a value beyond its limit": zeros(2_000_000_000),
    "a statement that is wrong": zeros(-(2**63) - 1),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_the_database_cannot_take_is_refused_and_hurts_no_other(
    path: Path, what: str
) -> None:
    async with driver_on(path) as driver:
        first, refused, last = await in_one_batch(
            driver, named("first"), REFUSED[what], named("last")
        )
        assert (first.name, last.name) == ("first", "last")
        assert type(refused) is Refused
        assert refused.code == "internal_error"
        with pytest.raises(Refused):
            await driver.read(REFUSED[what])
        await driver.ping()


async def test_a_value_beyond_a_lower_limit_is_refused_too(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    StatementTrace(monkeypatch, length=100_000)
    async with driver_on(path) as driver:
        assert await driver.write(bound("x" * 99_000)) == 99_000
        with pytest.raises(Refused, match="too big"):
            await driver.write(bound("x" * 101_000))


async def test_where_another_process_has_the_file_locked_a_batch_waits_once(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    trace = StatementTrace(monkeypatch)
    async with driver_on(path) as driver:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            trace.statements.clear()
            other.execute("BEGIN IMMEDIATE")
            answers = await asyncio.gather(
                *(driver.write(named(f"x{n}")) for n in range(50)), return_exceptions=True
            )
            assert all(type(answer) is Overloaded for answer in answers)
            assert trace.count("BEGIN IMMEDIATE") <= 2, "the first alone, or all at once"
            with pytest.raises(Overloaded, match="locked"):
                await driver.ping()
            other.execute("ROLLBACK")
        await driver.write(named("after"))
        await driver.ping()
    assert "after" in names(path)


async def test_a_measurement_that_raises_stops_no_write(path: Path) -> None:
    def measured(_seconds: float, _writes: int) -> None:
        raise ValueError("no such label")

    with capture_logs() as logs:
        async with driver_on(path, measured=measured) as driver:
            await driver.write(named("first"))
            await driver.write(named("second"))
            await driver.ping()
    assert "listener.failed" in {line["event"] for line in logs}


def fatal() -> Transaction[None]:
    raise SystemExit
    yield


async def test_when_the_writer_ends_whoever_waits_is_answered_and_whoever_comes_refused(
    path: Path,
) -> None:
    async with asyncio.timeout(BOUND):
        async with driver_on(path) as driver:
            answers = await in_one_batch(driver, named("first"), fatal, named("last"))
            assert [type(answer) for answer in answers] == [Overloaded] * 3
            with pytest.raises(Overloaded, match="writer has stopped"):
                await driver.write(named("later"))
            with pytest.raises(Overloaded, match="writer has stopped"):
                await driver.ping()
            assert await driver.read(bound("still read")) == 10


async def test_close_commits_what_waits_refuses_what_comes_and_leaves_the_loop_free(
    path: Path,
) -> None:
    driver = SqliteDriver(path)
    await driver.open()
    held = HeldWriter()
    holding = asyncio.create_task(driver.write(held.script))
    await asyncio.to_thread(held.reached.wait, BOUND)
    writes = [asyncio.create_task(driver.write(named(f"w{n}"))) for n in range(600)]
    await asyncio.sleep(0)
    closing_ = asyncio.create_task(driver.close())
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="closed"):
        await driver.write(named("too late"))
    held.go.set()  # the loop runs while close waits
    async with asyncio.timeout(BOUND):
        await closing_
        await holding
        assert len(await asyncio.gather(*writes)) == 600
    assert names(path) == {f"w{n}" for n in range(600)}


async def test_close_does_not_wait_for_ever_for_a_writer_that_is_stuck(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("outlast.store.sqlite.driver._CLOSE_SECONDS", 0.05)
    driver = SqliteDriver(path)
    await driver.open()
    held = HeldWriter()
    writes: list[asyncio.Task[Any]] = [asyncio.create_task(driver.write(held.script))]
    await asyncio.to_thread(held.reached.wait, BOUND)
    writes.append(asyncio.create_task(driver.write(named("behind"))))
    await asyncio.sleep(0)
    async with asyncio.timeout(BOUND):
        with capture_logs() as logs:
            await driver.close()
        answers = await asyncio.gather(*writes, return_exceptions=True)
    held.go.set()
    assert [type(answer) for answer in answers] == [Overloaded] * 2
    assert "database.writer_stuck" in {line["event"] for line in logs}


@pytest.mark.parametrize("statement", ["PRAGMA synchronous=FULL", "BEGIN IMMEDIATE", "COMMIT"])
async def test_no_error_of_a_statement_of_the_writers_own_ends_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    failing = [False]

    class Failing(sqlite3.Connection):
        def execute(self, sql: str, *rest: Any) -> sqlite3.Cursor:
            if failing[0] and sql == statement:
                error = sqlite3.OperationalError("disk I/O error")
                error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
                raise error
            return super().execute(sql, *rest)

    monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Failing))
    async with driver_on(path) as driver:
        await driver.write(named("text"), durable=False)
        failing[0] = True
        for _ in range(2):
            with pytest.raises(Overloaded, match="disk I/O error"):
                await driver.write(named("lost"))
        failing[0] = False
        await driver.write(named("after"))
        await driver.ping()
    assert names(path) == {"text", "after"}
