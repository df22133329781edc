"""A driver that remembers what is written through it."""

from typing import Any, TypeVar

from outlast.store.driver import Driver, Query, Request, Row, Statement, Transaction
from outlast.store.store import Store

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
