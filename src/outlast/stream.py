"""Follow an execution's log: replay, then live, by one algorithm.

A follower subscribes first and then reads the log, so nothing slips between. After that a commit wakes it:
where what it hears continues where it stands, it takes that; where not (it was slow, or the commit was
told only as a hint) it reads the log again. The log is the truth, so there is no gap and no repeat.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

from outlast.model.clock import Clock
from outlast.model.event import RESTING_EVENTS, START, TERMINAL_EVENTS, Cursor, Entry, expand
from outlast.model.execution import RESTING, TERMINAL, Execution
from outlast.store.port import Committed, ExecutionStore

_PAGE: Final = 500
"""Log rows per read while replaying."""
_BUFFER: Final = 64
"""Commits that wait for a slow follower before it is sent back to the log."""
POLL_SECONDS: Final = 20.0
"""A follower that hears nothing looks at the log this often: a notification is only a hint."""


class _Subscription:
    __slots__ = ("_waiter", "commits", "overflowed")

    def __init__(self) -> None:
        self.commits: list[Committed] = []
        self.overflowed = False
        self._waiter: asyncio.Future[None] | None = None

    def hear(self, committed: Committed) -> None:
        if len(self.commits) < _BUFFER:
            self.commits.append(committed)
        else:
            self.overflowed = True
            self.commits.clear()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Return when something was heard, or after the bound."""
        if self.commits or self.overflowed:
            return
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        bound = loop.call_later(seconds, _wake, waiter)
        try:
            await waiter
        finally:
            bound.cancel()
            self._waiter = None

    def take(self) -> list[Committed]:
        """What was heard since; where it overflowed, nothing but the need to read."""
        commits, self.commits = self.commits, []
        self.overflowed = False
        return commits


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Streams:
    """Everybody who follows an execution in this process."""

    def __init__(self, store: ExecutionStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._subscriptions: dict[str, set[_Subscription]] = defaultdict(set)

    def committed(self, committed: Committed) -> None:
        """Tell the followers of one execution about a commit; hears every commit in order."""
        for subscription in self._subscriptions.get(committed.execution_id, ()):
            subscription.hear(committed)

    @property
    def followers(self) -> int:
        """How many follow anything now."""
        return sum(len(group) for group in self._subscriptions.values())

    async def follow(
        self, workspace_id: str, execution_id: str, after: Cursor = START
    ) -> AsyncGenerator[list[Entry], None]:
        """Yield the log's entries behind `after`, piece by piece, in batches as they come.

        Ends after the last entry of an execution that has ended; held open through suspension and pause.
        An empty batch means that nothing happened for a while. Raises ExecutionNotFound.
        """
        position = after
        with self._subscribed(execution_id) as subscription:
            execution = await self._store.execution(workspace_id, execution_id)
            async for entries in self._replay(workspace_id, execution_id, position):
                position = entries[-1].cursor
                yield entries
                ended = isinstance(entries[-1].event, TERMINAL_EVENTS)
                if ended and await self._is_over(workspace_id, execution_id, position):
                    return
            if execution.status in TERMINAL and position == after:
                return
            while True:
                await subscription.wait(POLL_SECONDS)
                async for entries in self._news(workspace_id, execution_id, position, subscription):
                    if entries:
                        position = entries[-1].cursor
                    yield entries
                    if entries and isinstance(entries[-1].event, TERMINAL_EVENTS):
                        return

    async def rest(self, workspace_id: str, execution_id: str, seconds: float) -> Execution:
        """Wait until the execution ends, is suspended or paused, or so many seconds pass; answer it.

        Raises ExecutionNotFound.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        with self._subscribed(execution_id) as subscription:
            while True:
                execution = await self._store.execution(workspace_id, execution_id)
                left = deadline - loop.time()
                if execution.status in RESTING or left <= 0:
                    return execution
                await self._wait_for_rest(subscription, deadline)

    async def _wait_for_rest(self, subscription: _Subscription, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        polled = loop.time() + POLL_SECONDS
        while (left := min(deadline, polled) - loop.time()) > 0:
            await subscription.wait(left)
            if subscription.overflowed:
                subscription.take()
                return
            for committed in subscription.take():
                if any(isinstance(entry.event, RESTING_EVENTS) for entry in committed.entries):
                    return

    @contextmanager
    def _subscribed(self, execution_id: str) -> Iterator[_Subscription]:
        subscription = _Subscription()
        group = self._subscriptions[execution_id]
        group.add(subscription)
        try:
            yield subscription
        finally:
            group.discard(subscription)
            if not group and self._subscriptions.get(execution_id) is group:
                del self._subscriptions[execution_id]

    async def _replay(
        self, workspace_id: str, execution_id: str, after: Cursor
    ) -> AsyncIterator[list[Entry]]:
        position = after
        while True:
            rows = await self._store.log(workspace_id, execution_id, position, _PAGE)
            entries = list(expand(rows, position))
            if not entries:
                return
            yield entries
            position = entries[-1].cursor
            if len(rows) < _PAGE:
                return

    async def _is_over(self, workspace_id: str, execution_id: str, position: Cursor) -> bool:
        """Whether an end in the log is the log's end: a failed execution may have been resumed since."""
        return not await self._store.log(workspace_id, execution_id, position, 1)

    async def _news(
        self,
        workspace_id: str,
        execution_id: str,
        position: Cursor,
        subscription: _Subscription,
    ) -> AsyncIterator[list[Entry]]:
        """What was heard where it continues the position, else the log; one empty batch if nothing."""
        overflowed = subscription.overflowed
        commits = subscription.take()
        entries = None if overflowed or not commits else _continue(position, commits)
        if entries is not None:
            yield entries
            return
        nothing = True
        async for page in self._replay(workspace_id, execution_id, position):
            nothing = False
            yield page
        if nothing:
            yield []


def _continue(position: Cursor, commits: list[Committed]) -> list[Entry] | None:
    """The new entries of these commits, or None where they leave a gap behind the position."""
    found: list[Entry] = []
    segment, seq = position
    for committed in commits:
        for entry in committed.entries:
            if entry.cursor <= (segment, seq):
                continue
            if entry.first_seq > seq + 1:
                return None
            fresh = list(expand((entry,), Cursor(segment, seq)))
            found.extend(fresh)
            segment, seq = entry.cursor
    return found
