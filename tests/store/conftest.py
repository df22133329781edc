"""The store under test: every implementation of the port, by the `store` fixture."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from outlast.model.execution import (
    Execution,
)
from outlast.model.wait import Wait
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.databases import Database
from tests.support.disks import small_disk
from tests.support.shelf import Shelf, shelf_of
from tests.support.store import CommitLog, new
from tests.support.waits import Suspend, suspended_over


@pytest.fixture
def commit_log() -> CommitLog:
    return CommitLog()


@pytest.fixture
async def store(database: Database, commit_log: CommitLog) -> AsyncIterator[Store]:
    made = Store.over(database.driver())
    made.listen(commit_log.listeners())
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
def suspend(store: Store, create: Callable[..., Awaitable[Execution]]) -> Suspend:
    async def made(*waits: Wait) -> Execution:
        return await suspended_over(store, await create(), *waits)

    return made


@pytest.fixture(name="small_disk")
def _small_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path, 8) as disk:
        yield disk


@pytest.fixture
async def shelf(store: Store, clock: FakeClock) -> Shelf:
    return await shelf_of(store, clock)
