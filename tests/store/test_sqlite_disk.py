"""Disks that are full, and files that break or vanish under the server."""

import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from outlast.model.error import Misconfigured, Overloaded
from outlast.model.execution import Execution, Status
from outlast.store.executions.values import Advance
from outlast.store.sqlite import SqliteDriver
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.sqlite import driver_on, fill, missing, named, names
from tests.support.store import new
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio


async def ended(store: Store, clock: FakeClock, words: str) -> Execution:
    execution = (await store.executions.create(replace(new(clock), input=words))).execution
    await store.executions.advance(
        Advance(execution, replace(execution, status=Status.CANCELLED, completed_at=1))
    )
    return execution


@pytest.mark.parametrize("durable", [True, False])
async def test_a_full_disk_refuses_writes_and_they_go_on_by_themselves_once_there_is_room(
    small_disk: Path, *, durable: bool
) -> None:
    path, clock = small_disk / "outlast.db", FakeClock()
    async with asyncio.timeout(BOUND), driver_on(path) as driver:
        store = Store.over(driver)
        kept = await ended(store, clock, "y" * 500_000)
        ballast = fill(small_disk)
        refused = 0
        for number in range(2000):  # the WAL has room for some
            try:
                await driver.write(named(f"{number}" + "z" * 3000), durable=durable)
            except Overloaded as error:
                assert "full" in error.message  # noqa: PT017 - the first ones may pass
                refused += 1
                if refused == 5:
                    break
        assert refused == 5
        with pytest.raises(Overloaded):
            await driver.ping()
        with pytest.raises(Overloaded):
            await store.executions.delete(kept.workspace_id, kept.id)
        answers = await asyncio.gather(
            *(driver.write(named(f"many{n}" + "z" * 3000)) for n in range(20)),
            return_exceptions=True,
        )
        assert all(type(answer) is Overloaded for answer in answers)
        assert (await store.executions.get(kept.workspace_id, kept.id)).status is Status.CANCELLED

        ballast.unlink()
        await driver.ping()
        await driver.write(named("after"))
        await store.executions.delete(kept.workspace_id, kept.id)
        assert "after" in names(path)
        for file in (path, path.with_name("outlast.db-wal")):
            assert b"y" * 5000 not in file.read_bytes()


async def test_a_disk_that_is_full_at_the_start_is_reported_in_one_sentence(
    small_disk: Path,
) -> None:
    ballast = fill(small_disk)
    with pytest.raises(Misconfigured, match=r"full|No space"):
        await SqliteDriver(small_disk / "outlast.db").open()
    ballast.unlink()
    async with driver_on(small_disk / "outlast.db") as driver:
        await driver.write(named("after"))


def overwrite(path: Path, start: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(content)


def garbage_from_the_start(path: Path) -> None:
    overwrite(path, 0, os.urandom(path.stat().st_size))


def a_header_of_zeros(path: Path) -> None:
    overwrite(path, 0, bytes(100))


def nothing_at_all(path: Path) -> None:
    os.truncate(path, 0)


def garbage_behind_the_first_page(path: Path) -> None:
    overwrite(path, 4096, os.urandom(path.stat().st_size - 4096))


@pytest.mark.parametrize(
    "damage",
    [
        garbage_from_the_start,
        a_header_of_zeros,
        nothing_at_all,
        garbage_behind_the_first_page,
    ],
)
async def test_a_database_that_breaks_under_the_server_answers_503_and_is_not_ready(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    path, clock = tmp_path / "outlast.db", FakeClock()
    async with driver_on(path) as driver:
        store = Store.over(driver)
        for _ in range(200):
            await ended(store, clock, "words " * 1000)
    async with asyncio.timeout(BOUND), driver_on(path) as driver:
        damage(path)
        store = Store.over(driver)
        tries = (
            ended(store, clock, "words"),
            store.executions.unfinished("", 500),
            store.workspaces.all(),
        )
        answers = await asyncio.gather(*tries, return_exceptions=True)
        errors = {type(answer) for answer in answers if isinstance(answer, BaseException)}
        assert errors <= {Overloaded}
        with pytest.raises(Overloaded, match="damaged"):
            await driver.ping()
        with pytest.raises(Overloaded, match="damaged"):
            await driver.write(named("more"))
        with pytest.raises(Overloaded, match="damaged"):
            await driver.write(missing)


def deleted(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    shutil.copy(path, path.with_name("backup.db"))
    path.with_name("backup.db").replace(path)


def moved_away(path: Path) -> None:
    path.rename(path.with_name("away.db"))


def without_its_wal(path: Path) -> None:
    path.with_name(path.name + "-wal").unlink()


def without_its_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def another_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("away"))
    shutil.copytree(path.parent.with_name("away"), path.parent)


@pytest.mark.parametrize(
    "change",
    [deleted, replaced, moved_away, without_its_wal, without_its_folder, another_folder],
)
async def test_a_database_that_was_deleted_or_replaced_under_the_server_takes_no_writes(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "data" / "outlast.db"
    async with asyncio.timeout(BOUND):
        driver = SqliteDriver(path)
        await driver.open()
        await driver.write(named("before"))
        await driver.ping()
        change(path)
        for name in ("first", "second"):
            with pytest.raises(Overloaded, match="deleted or replaced"):
                await driver.write(named(name))
        with pytest.raises(Overloaded, match="deleted or replaced"):
            await driver.ping()
        with pytest.raises(Overloaded, match="deleted or replaced"):
            await driver.write(named("text"), durable=False)
        await driver.close()


async def test_a_link_that_was_turned_to_another_database_is_noticed(tmp_path: Path) -> None:
    link = tmp_path / "outlast.db"
    for name in ("one.db", "two.db"):
        async with driver_on(tmp_path / name):
            pass
    link.symlink_to(tmp_path / "one.db")
    async with driver_on(link) as driver:
        await driver.ping()
        link.unlink()
        link.symlink_to(tmp_path / "two.db")
        with pytest.raises(Overloaded, match="deleted or replaced"):
            await driver.ping()


async def test_a_database_that_comes_back_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "outlast.db"
    async with driver_on(path) as driver:
        path.rename(tmp_path / "away.db")
        with pytest.raises(Overloaded):
            await driver.write(named("lost or not"))
        with pytest.raises(Overloaded):
            await driver.ping()
        (tmp_path / "away.db").rename(path)
        await driver.ping()
        await driver.write(named("after"))
    assert "after" in names(path)


async def test_trouble_with_the_disk_is_logged_once_and_its_end_too(tmp_path: Path) -> None:
    path = tmp_path / "outlast.db"
    with capture_logs() as logs:
        async with driver_on(path) as driver:
            path.rename(tmp_path / "away.db")
            for _ in range(3):
                with pytest.raises(Overloaded):
                    await driver.write(named("lost"))
            (tmp_path / "away.db").rename(path)
            for _ in range(3):
                await driver.write(named("after"))
    events = [line["event"] for line in logs if line["event"].startswith("database.")]
    assert events == ["database.not_written", "database.written_again"]
