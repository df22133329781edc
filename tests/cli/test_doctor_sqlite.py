"""`outlast doctor` on SQLite: damage, and who may read the file."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from outlast.services.findings import Level
from outlast.store.sqlite import SqliteDriver
from tests.support.doctor import findings
from tests.support.sqlite import driver_on, named

pytestmark = pytest.mark.anyio


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """A database with something in it."""
    path = tmp_path / "outlast.db"
    async with driver_on(path) as driver:
        for number in range(300):
            await driver.write(named(f"{number} " + "x" * 200), durable=False)
    return path


def overwritten(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


def garbage_in_a_page(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'workspaces'"
        (page,) = file.execute(query).fetchone()
    with path.open("r+b") as raw:
        raw.seek((page - 1) * 4096)
        raw.write(os.urandom(4096))


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [overwritten, garbage_in_a_page, cut_off])
async def test_a_damaged_database_is_named_with_what_mends_it(
    path: Path, damage: Callable[[Path], None]
) -> None:
    damage(path)

    found = await findings(f"sqlite:///{path}")

    wrong = [f for f in found.values() if f.level is Level.FAIL]
    assert [f.check for f in wrong] in (["database"], ["integrity"])
    assert "restore a backup" in str(wrong[0].remedy)
    assert "\n" not in wrong[0].text
    assert "lock" not in found


async def test_a_sound_one_is_found_sound_also_beside_its_server(path: Path) -> None:
    for driver in (None, SqliteDriver(path)):
        if driver is not None:
            await driver.open()
        found = await findings(f"sqlite:///{path}")
        assert found["integrity"].level is Level.OK
        assert found["lock"].level is Level.OK
        assert "database file" not in found
        if driver is not None:
            assert "in use by process" in found["lock"].text
            await driver.close()


async def test_a_file_that_everybody_may_read_is_named(path: Path) -> None:
    os.chmod(path, 0o644)  # noqa: PTH101 - ruff takes the other for blocking

    finding = (await findings(f"sqlite:///{path}"))["database file"]

    assert finding.level is Level.WARN
    assert finding.remedy == f"chmod 600 {path}*"
