"""What is SQLite's own: the lock, and what is left on the disk."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from outlast.model.error import StoreLocked
from outlast.model.execution import Status
from outlast.store.port import Advance
from outlast.store.sql import SqlStore
from outlast.store.sqlite import SqliteDriver
from outlast.testing import FakeClock
from tests.store.moves import new

pytestmark = pytest.mark.anyio

HOLDER = """
import asyncio, sys
from pathlib import Path
from outlast.store.sqlite import SqliteDriver

async def main():
    await SqliteDriver(Path(sys.argv[1])).open()
    print("open", flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


async def test_a_second_process_is_told_who_holds_the_file(tmp_path: Path) -> None:
    path = tmp_path / "outlast.db"
    with subprocess.Popen(  # noqa: ASYNC220 - the test has nothing else to do meanwhile
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StoreLocked, match=f"process {holder.pid}"):
            await SqliteDriver(path).open()
        beside = SqliteDriver(path, exclusive=False)
        await beside.open()
        await beside.ping()
        await beside.close()
        holder.kill()
    driver = SqliteDriver(path)
    await driver.open()
    await driver.close()


async def test_what_was_deleted_is_in_none_of_the_databases_files(tmp_path: Path) -> None:
    store = SqlStore(SqliteDriver(tmp_path / "outlast.db"))
    await store.open()
    wish = replace(new(FakeClock()), input="the secret of the tests")
    execution = (await store.create(wish)).execution
    gone = replace(execution, status=Status.CANCELLED, completed_at=1)
    await store.advance(Advance(execution, gone))
    files = [tmp_path / "outlast.db", tmp_path / "outlast.db-wal"]
    assert any(b"the secret of the tests" in file.read_bytes() for file in files)
    await store.delete_conversation(execution.workspace_id, execution.conversation_id, 2)
    assert not any(b"the secret of the tests" in file.read_bytes() for file in files)
    await store.close()
