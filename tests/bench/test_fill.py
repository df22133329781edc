"""Copies of an execution in a real database are whole, older, and its own."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bench.fill import copy_execution, suffix

from outlast.model import ids
from outlast.model.execution import Execution
from outlast.store.sql import SqlStore
from outlast.store.sqlite import SqliteDriver
from outlast.testing import FakeClock
from tests.store.moves import completed, new, run

pytestmark = pytest.mark.anyio

COPIES = 45


@pytest.fixture
async def original(tmp_path: Path) -> Execution:
    store = SqlStore(SqliteDriver(tmp_path / "outlast.db"))
    await store.open()
    execution = (await store.create(new(FakeClock()))).execution
    execution = await run(store, execution)
    await store.advance(completed(execution))
    await store.close()
    return execution


async def test_every_row_of_the_execution_is_copied(tmp_path: Path, original: Execution) -> None:
    before = _counts(tmp_path)
    copy_execution(tmp_path / "outlast.db", original.id, COPIES)
    assert before["events"] > 1
    assert _counts(tmp_path) == {table: rows * (COPIES + 1) for table, rows in before.items()}


async def test_copies_are_listed_after_the_original_newest_first(
    tmp_path: Path, original: Execution
) -> None:
    made = copy_execution(tmp_path / "outlast.db", original.id, COPIES)
    assert made == sorted(made)
    assert all(ids.parse("exec", one) == one for one in made)
    found = _select(tmp_path, "SELECT id FROM executions ORDER BY created_at DESC")
    assert [one for (one,) in found] == [original.id, *reversed(made)]


async def test_an_unknown_execution_is_not_copied(tmp_path: Path, original: Execution) -> None:
    with pytest.raises(LookupError):
        copy_execution(tmp_path / "outlast.db", f"exec_{suffix(1, 1)}", 1)


def _counts(folder: Path) -> dict[str, int]:
    tables = ("executions", "conversations", "events", "steps", "checkpoints")
    return {table: _select(folder, f"SELECT count(*) FROM {table}")[0][0] for table in tables}


def _select(folder: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "outlast.db")) as database:
        return database.execute(query).fetchall()
