"""The store under test: every implementation of the port, by the `store` fixture."""

import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.model.execution import (
    Execution,
)
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.database import Database
from tests.store.moves import Heard, new


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def store(database: Database, heard: Heard) -> AsyncIterator[Store]:
    made = Store.over(database.driver())
    made.listen(heard.listeners())
    await made.open()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def create(store: Store, clock: FakeClock) -> Callable[..., Awaitable[Execution]]:
    async def made(**more: Any) -> Execution:
        return (await store.executions.create(new(clock, **more))).execution

    return made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode != 0:
        pytest.skip("mounting a small disk takes root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
