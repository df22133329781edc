"""Processes that die in the middle of their work, as the store sees it."""

import asyncio
from collections.abc import Callable
from types import GeneratorType
from typing import Any, TypeVar

from outlast.model.error import Overloaded
from outlast.store.driver import Driver, Transaction
from outlast.store.store import Store


class Crash:
    """A death with the nth write: before it is committed, or after that and before any listener is
    called."""

    def __init__(self, writes: int, *, commits_last: bool) -> None:
        self.dead = asyncio.Event()
        self._left = writes
        self._commits_last = commits_last

    def store(self, driver: Driver) -> Store:
        """A store that dies this death."""
        dying: Any = CrashingDriver(driver, self)
        return Store.over(dying)

    def revive(self) -> None:
        """Let all further writes pass."""
        self._left = 1_000_000

    def lets_pass(self) -> bool:
        """Whether a write is committed and heard of."""
        if self._left <= 0:
            return False
        self._left -= 1
        return True

    def commits(self) -> bool:
        """Whether a write that is not heard of is committed all the same."""
        first = not self.dead.is_set()
        self.dead.set()
        return self._commits_last and first


T = TypeVar("T")


class CrashingDriver:
    """Dies by a crash, in the transactions of these names."""

    mortal = frozenset({"advance", "append_text", "force_failure"})

    def __init__(self, driver: Driver, crash: Crash) -> None:
        self._driver = driver
        self._crash = crash

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    async def write(self, transaction: Callable[[], Transaction[T]], **more: Any) -> T:
        """Write, unless the process dies of it: before the commit, or behind it."""
        made = transaction()
        assert isinstance(made, GeneratorType)
        if made.__name__ not in self.mortal or self._crash.lets_pass():
            return await self._driver.write(transaction, **more)
        if self._crash.commits():
            await self._driver.write(transaction, **more)
        raise Overloaded("The process died.")


class Mortal(CrashingDriver):
    """Dies in a decision, a resume or a reservation too."""

    mortal = CrashingDriver.mortal | {"_decide", "resume", "reserve"}


class Death(Crash):
    """A crash that is also met in a decision or a resume."""

    def store(self, driver: Driver) -> Store:
        dying: Any = Mortal(driver, self)
        return Store.over(dying)

    def strike(self, writes: int) -> None:
        """Come after so many writes from now on."""
        self._left = writes
