"""Listeners of commits: what they raise is logged, and stays theirs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from outlast.store.listeners import Listeners
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.databases import Database
from tests.support.store import WORKSPACE, new

pytestmark = pytest.mark.anyio


def broken(*_: Any) -> None:
    raise TypeError("unhashable type: 'dict'")


def fine(*_: Any) -> None:
    pass


@asynccontextmanager
async def listened(database: Database, listeners: Listeners) -> AsyncIterator[Store]:
    store = Store.over(database.driver())
    store.listen(listeners)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


@pytest.mark.parametrize(
    ("committed", "runnable"), [(broken, fine), (fine, broken), (broken, broken)]
)
async def test_a_listener_that_raises_takes_the_answer_from_no_write_of_the_batch(
    database: Database, committed: Callable[..., None], runnable: Callable[..., None]
) -> None:
    clock = FakeClock()
    with capture_logs() as logs:
        async with asyncio.timeout(20):
            async with listened(database, Listeners(committed, runnable)) as store:
                created = await asyncio.gather(
                    *(store.executions.create(new(clock)) for _ in range(30))
                )
                for one in created:
                    assert await store.executions.get(WORKSPACE, one.execution.id) == one.execution
                await store.ready()
    assert "listener.failed" in {line["event"] for line in logs}


async def test_a_listener_that_raises_keeps_nothing_from_the_others(database: Database) -> None:
    commit_log: list[Any] = []
    seen: list[str] = []

    def committed(commit: Any) -> None:
        seen.append(commit.execution_id)
        if len(seen) == 2:
            raise ValueError("the second alone")

    clock = FakeClock()
    async with listened(database, Listeners(committed, commit_log.append)) as store:
        created = await asyncio.gather(*(store.executions.create(new(clock)) for _ in range(5)))
    ids = [one.execution.id for one in created]
    assert sorted(seen) == ids
    assert sorted(execution.id for execution in commit_log) == ids
