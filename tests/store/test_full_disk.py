"""What a full disk says to an operator whose server has stopped."""

from pathlib import Path

import pytest

from outlast.cli.state import opened
from outlast.model.error import Misconfigured
from outlast.services.findings import Level
from outlast.settings import Settings
from outlast.store.sqlite import SqliteDriver
from outlast.store.sqlite.backup import back_up
from tests.support.doctor import findings
from tests.support.sqlite import driver_on, fill, named

pytestmark = pytest.mark.anyio
FULL = "its disk is full, free some space"


@pytest.fixture
async def path(small_disk: Path) -> Path:
    """A database of a server that has stopped, on a disk that was filled since."""
    path = small_disk / "outlast.db"
    async with driver_on(path) as driver:
        await driver.write(named("kept"))
    fill(small_disk)
    return path


async def test_the_doctor_wants_room_and_no_backup(path: Path) -> None:
    found = (await findings(f"sqlite:///{path}"))["database"]
    assert (found.level, found.text) == (Level.FAIL, f"{path}: {FULL}")
    assert found.remedy == f"free space on the disk of {path.parent}"


async def test_commands_and_servers_name_the_full_disk(path: Path, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=FULL):
        await SqliteDriver(path).open()
    with pytest.raises(Misconfigured, match="its disk or that of the copy is full"):
        back_up(path, tmp_path / "copy.db", lambda *_: None)
    settings = Settings(database_url=f"sqlite:///{path}", data_dir=tmp_path / "data")
    with pytest.raises(Misconfigured, match=FULL):
        async with opened(settings):
            pass
