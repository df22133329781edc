"""One server per SQLite file, under whatever name; and no other user can read it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from outlast.model.error import Misconfigured, StoreLocked
from outlast.store.sqlite import SqliteDriver
from tests.support.python_process import PythonProcess
from tests.support.sqlite import driver_on, named, names

pytestmark = pytest.mark.anyio

HOLDER: Final = """
import asyncio, sys
from pathlib import Path
from outlast.store.sqlite import SqliteDriver

async def main():
    await SqliteDriver(Path(sys.argv[1])).open()
    print("open", flush=True)
    sys.stdin.read()

asyncio.run(main())
"""
linux = pytest.mark.skipif(sys.platform != "linux", reason="F_OFD_SETLK is Linux's")


@contextmanager
def held(path: Path) -> Iterator[int]:
    """Another process has the file open; its id."""
    with PythonProcess(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        yield holder.pid
        holder.kill()


def itself(path: Path) -> Path:
    return path


def a_symbolic_link(path: Path) -> Path:
    link = path.with_name("link.db")
    link.symlink_to(path)
    return link


def a_link_to_the_folder(path: Path) -> Path:
    link = path.parent.with_name("link")
    link.symlink_to(path.parent)
    return link / path.name


def a_hard_link(path: Path) -> Path:
    link = path.parent.with_name("hard.db")
    link.hardlink_to(path)
    return link


def no_lock_file(path: Path) -> Path:
    path.with_name(path.name + ".lock").unlink()
    return path


def a_hard_link_without_lock_files(path: Path) -> Path:
    no_lock_file(path)
    return a_hard_link(path)


WAYS: Final = [
    itself,
    a_symbolic_link,
    a_link_to_the_folder,
    pytest.param(a_hard_link, marks=linux),
    pytest.param(no_lock_file, marks=linux),
    pytest.param(a_hard_link_without_lock_files, marks=linux),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "outlast.db"


@pytest.mark.parametrize("way", WAYS)
async def test_a_second_server_is_refused_and_learns_who_holds_the_file(
    path: Path, way: Callable[[Path], Path]
) -> None:
    with held(path) as holder:
        other = way(path)
        for _ in range(2):  # the first attempt has not loosened it
            with pytest.raises(StoreLocked, match=f"process {holder}"):
                await SqliteDriver(other).open()
    async with driver_on(other) as driver:
        await driver.ping()


async def test_a_command_works_beside_the_server(path: Path) -> None:
    with held(path):
        async with driver_on(path, exclusive=False) as beside:
            await beside.ping()
            await beside.write(named("beside"))
        with pytest.raises(StoreLocked):
            await SqliteDriver(path).open()
    assert names(path) == {"beside"}


@pytest.mark.parametrize("way", WAYS)
async def test_the_same_process_does_not_open_a_file_twice_nor_loosen_its_own_lock(
    path: Path, way: Callable[[Path], Path]
) -> None:
    async with driver_on(path) as driver:
        other = way(path)
        for _ in range(2):
            with pytest.raises(StoreLocked):
                await SqliteDriver(other).open()
        code = HOLDER.replace('print("open", flush=True)', "").replace("sys.stdin.read()", "")
        command = [sys.executable, "-c", code, str(other)]
        with PythonProcess(command, stderr=subprocess.PIPE, text=True) as process:
            assert "StoreLocked" in process.communicate()[1]
        await driver.ping()


async def test_after_a_server_has_gone_the_next_may_come(path: Path) -> None:
    for _ in range(2):
        async with driver_on(path) as driver:
            await driver.ping()
        with held(path):
            pass


@pytest.mark.parametrize("existing", [None, 0o644, 0o640])
async def test_the_files_are_for_their_owner_alone_unless_the_operator_said_otherwise(
    path: Path, existing: int | None
) -> None:
    if existing is not None:
        async with driver_on(path):
            pass
        os.chmod(path, existing)  # noqa: PTH101 - ruff takes the other for blocking
    async with driver_on(path) as driver:
        await driver.write(named("first"))
        for file in (path, path.with_name("outlast.db-wal"), path.with_name("outlast.db-shm")):
            assert file.stat().st_mode & 0o777 == (existing or 0o600), file.name


async def test_a_folder_that_is_made_is_for_its_owner_alone(tmp_path: Path) -> None:
    async with driver_on(tmp_path / "new" / "outlast.db"):
        assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def in_a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file" / "outlast.db"


def a_folder_itself(folder: Path) -> Path:
    return folder


def a_circle_of_links(folder: Path) -> Path:
    (folder / "a.db").symlink_to(folder / "b.db")
    (folder / "b.db").symlink_to(folder / "a.db")
    return folder / "a.db"


@pytest.mark.parametrize("way", [in_a_file, a_folder_itself, a_circle_of_links])
async def test_a_path_that_cannot_be_a_database_is_refused_in_one_sentence(
    tmp_path: Path, way: Callable[[Path], Path]
) -> None:
    with pytest.raises(Misconfigured, match="cannot be"):
        await SqliteDriver(way(tmp_path)).open()
