"""Who makes a request is found out while every reader is busy with something large."""

import asyncio
import threading

import pytest

from outlast.store.driver import Transaction, TransactionResult, ping
from outlast.store.store import Store
from tests.support.databases import Database
from tests.support.waiting import BOUND

pytestmark = [pytest.mark.anyio, pytest.mark.only("sqlite")]


async def test_authentication_does_not_wait_behind_heavy_reads(database: Database) -> None:
    driver, let_go = database.driver(), threading.Event()
    store = Store.over(driver)
    await store.open()

    def heavy() -> Transaction[None]:
        yield from ping()
        let_go.wait(BOUND)
        return TransactionResult(None)

    try:
        reading = [asyncio.ensure_future(driver.read(heavy)) for _ in range(12)]
        async with asyncio.timeout(BOUND / 2):
            assert await store.keys.by_hash("none") is None
            assert await store.keys.get("ws_none", "key_none") is None
            assert await store.keys.revoked(0) == set()
        assert not any(read.done() for read in reading)
        let_go.set()
        await asyncio.gather(*reading)
    finally:
        let_go.set()
        await store.close()
