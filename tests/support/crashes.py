"""Crashes of a server in this process, as its store sees them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import GeneratorType
from typing import Any, Final, TypeVar

from outlast.model.error import Overloaded
from outlast.store.driver import Driver, Transaction
from outlast.store.listeners import Committed, Listeners
from outlast.store.store import Store

T = TypeVar("T")

STEPS: Final = frozenset(
    {"advance", "append_text", "begin_siblings", "end_siblings", "force_failure"}
)
"""The transactions of a running segment."""
MOVES: Final = frozenset({"_decide", "resume", "reserve", "reserve_in_one"})
"""Those of who decides and resumes, and what a run reserves of its budgets."""


class Crash:
    """A crash at a write: before it is committed, or after that and before any listener is called.

    With `transactions` it is met in those alone, and they fail from then on. Without, it is met in
    any, and from then on the store neither reads nor writes nor calls a listener.
    """

    def __init__(
        self,
        writes: int | None = None,
        *,
        commits_last: bool = False,
        transactions: frozenset[str] | None = STEPS,
    ) -> None:
        """It comes after so many writes; None: not before `after` says when."""
        self.happened = asyncio.Event()
        self.committed = asyncio.Event()
        """Set at each commit that followers get; who looks at the store clears it before."""
        self.has_failures = False
        """A single write has failed, or will."""
        self.transactions = transactions
        self._left = writes
        self._commits_last = commits_last
        self._fails_after: int | None = None

    def after(self, writes: int, *, commits_last: bool | None = None) -> None:
        """Come after so many writes from now on."""
        self._left = writes
        if commits_last is not None:
            self._commits_last = commits_last

    def clear(self) -> None:
        """Let all further writes pass."""
        self._left = None

    def fail_after(self, writes: int) -> None:
        """Let one write fail, after so many from now on, without a crash."""
        self._fails_after, self.has_failures = writes, True

    def store(self, driver: Driver) -> Store:
        """Return a store that meets this crash."""
        crashing: Any = CrashingDriver(driver, self)
        return Store.over(crashing)

    # --- for the driver

    @property
    def stops_all(self) -> bool:
        """Whether the store does nothing any more."""
        return self.transactions is None and self.happened.is_set()

    def fails(self) -> bool:
        """Return whether this write is the one that fails."""
        if self._fails_after is None:
            return False
        self._fails_after -= 1
        if self._fails_after >= 0:
            return False
        self._fails_after = None
        return True

    def lets_pass(self) -> bool:
        """Return whether a write is committed and its listeners are called."""
        if self.stops_all:
            return False
        if self._left is None:
            return True
        if self._left <= 0:
            return False
        self._left -= 1
        return True

    def commits(self) -> bool:
        """Return whether a write that does not pass is committed all the same."""
        is_first = not self.happened.is_set()
        self.happened.set()
        return self._commits_last and is_first


def no_crash() -> Crash:
    """Return one that never comes; its store says when something is committed."""
    return Crash(transactions=None)


class CrashingDriver:
    """A driver whose process crashes."""

    def __init__(self, driver: Driver, crash: Crash) -> None:
        self._driver = driver
        self._crash = crash

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def listen(self, listeners: Listeners) -> None:
        def committed(what: Committed) -> None:
            if not self._crash.stops_all:
                self._crash.committed.set()
                listeners.committed(what)

        self._driver.listen(replace(listeners, committed=committed))

    async def write(self, transaction: Callable[[], Transaction[T]], **more: Any) -> T:
        """Write. Raises Overloaded where the process crashes, before the commit or after it."""
        crash = self._crash
        if crash.fails():
            raise Overloaded("The database is away.")
        if not self._meets(transaction) or crash.lets_pass():
            return await self._driver.write(transaction, **more)
        if crash.commits():
            await self._driver.write(transaction, **more)
        raise Overloaded("The process crashed.")

    def _meets(self, transaction: Callable[[], Transaction[Any]]) -> bool:
        if self._crash.transactions is None:
            return True
        made = transaction()
        assert isinstance(made, GeneratorType)
        return made.__name__ in self._crash.transactions

    async def read(self, transaction: Any, **more: Any) -> Any:
        if self._crash.stops_all:
            raise Overloaded("The process crashed.")
        return await self._driver.read(transaction, **more)
