"""Drivers that remember what is written through them, or hold it back."""

import asyncio
from typing import Any, TypeVar

from outlast.store.driver import Driver, Query, Request, Row, Statement, Transaction
from outlast.store.store import Store
from tests.support.waiting import BOUND

T = TypeVar("T")


class RecordingDriver:
    """Remembers the statements of transactions that write."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.statements: list[Statement] = []
        self.transactions: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    async def write(self, transaction: Any, **more: Any) -> Any:
        return await self._driver.write(lambda: self._recorded(transaction()), **more)

    def _recorded(self, made: Any) -> Transaction[T]:
        self.transactions.append(made.gi_code.co_name)
        rows: Any = None
        while True:
            try:
                request = made.send(rows)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            self.statements.extend(_statements_of(request))
            rows: list[Row] = yield request  # type: ignore[no-redef]


class HoldingDriver:
    """Holds back transactions of one name until its gate opens."""

    def __init__(self, driver: Driver, held: str) -> None:
        self._driver, self._held = driver, held
        self.gate, self.holds = asyncio.Event(), 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    async def write(self, transaction: Any, **more: Any) -> Any:
        made = transaction()
        if made.gi_code.co_name == self._held:
            self.holds += 1
            await asyncio.wait_for(self.gate.wait(), BOUND)
        made.close()
        return await self._driver.write(transaction, **more)


def holding(name: str, drivers: list[HoldingDriver]) -> Any:
    """A function that makes a store whose driver, added to these, holds back such transactions."""

    def store(driver: Driver) -> Store:
        made: Any = HoldingDriver(driver, name)
        drivers.append(made)
        return Store.over(made)

    return store


def _statements_of(request: Request) -> list[Statement]:
    if isinstance(request, Query):
        return [request.statement]
    return [one.statement for one in getattr(request, "queries", ())]


def recorded(drivers: list[RecordingDriver]) -> Any:
    """A function that makes a store, whose driver it adds to these."""

    def store(driver: Driver) -> Store:
        made: Any = RecordingDriver(driver)
        drivers.append(made)
        return Store.over(made)

    return store
