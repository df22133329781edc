"""What was deleted leaves the disk, also where a reader is in the way."""

import asyncio
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.model.execution import Execution, Status
from outlast.store.executions.values import Advance
from outlast.store.sqlite import SqliteDriver
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.python_process import PythonProcess
from tests.support.sqlite import StatementTrace, driver_on, named
from tests.support.store import new
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio

SECRET = b"the secret of the tests"
DELETER = """
import asyncio, os, sys
from pathlib import Path
from outlast.store.store import Store
from outlast.store.sqlite import SqliteDriver

async def main():
    store = Store.over(SqliteDriver(Path(sys.argv[1])))
    await store.open()
    await store.conversations.delete(sys.argv[2], sys.argv[3], 2)
    os._exit(9)

asyncio.run(main())
"""


def holds_the_secret(path: Path) -> bool:
    files = [path, path.with_name(path.name + "-wal")]
    return any(SECRET in file.read_bytes() for file in files if file.exists())


async def ended(driver: SqliteDriver) -> Execution:
    """A conversation whose words are on the disk."""
    store = Store.over(driver)
    request = replace(new(FakeClock()), input=SECRET.decode())
    execution = (await store.executions.create(request)).execution
    gone = replace(execution, status=Status.CANCELLED, completed_at=1)
    await store.executions.advance(Advance(execution, gone))
    return execution


@contextmanager
def reader(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection in the middle of a read, as a backup is."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM executions").fetchall()
        yield connection


async def until_gone(path: Path) -> None:
    async with asyncio.timeout(BOUND):
        while await asyncio.to_thread(holds_the_secret, path):
            pass


async def test_what_was_deleted_is_in_none_of_the_databases_files(tmp_path: Path) -> None:
    path = tmp_path / "outlast.db"
    async with driver_on(path) as driver:
        execution = await ended(driver)
        assert holds_the_secret(path)
        await Store.over(driver).conversations.delete(
            execution.workspace_id, execution.conversation_id, 2
        )
        assert not holds_the_secret(path)


async def test_a_reader_delays_an_erasure_and_no_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, trace = tmp_path / "outlast.db", StatementTrace(monkeypatch)
    async with driver_on(path) as driver:
        execution = await ended(driver)
        with reader(path) as other:
            async with asyncio.timeout(5):  # less than a lock is waited for
                await Store.over(driver).conversations.delete(
                    execution.workspace_id, execution.conversation_id, 2
                )
                for number in range(20):
                    await driver.write(named(f"w{number}"))
                await driver.ping()
            assert holds_the_secret(path)
            other.execute("COMMIT")
            await until_gone(path)  # without any write that would wake the writer
        attempts = trace.count("PRAGMA wal_checkpoint(TRUNCATE)")
        await driver.write(named("later"))
        assert trace.count("PRAGMA wal_checkpoint(TRUNCATE)") == attempts, "it is done"


async def test_an_erasure_that_a_process_did_not_live_to_see_is_the_next_ones(
    tmp_path: Path,
) -> None:
    path = tmp_path / "outlast.db"
    async with driver_on(path) as driver:
        execution = await ended(driver)
    with reader(path) as other:
        arguments = [str(path), execution.workspace_id, execution.conversation_id]
        process = PythonProcess([sys.executable, "-c", DELETER, *arguments])
        assert process.wait(BOUND) == 9
        assert holds_the_secret(path)
        async with driver_on(path):
            other.execute("COMMIT")
            await until_gone(path)
