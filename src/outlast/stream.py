"""Follows an execution's log, replay and live, by one algorithm.

A follower subscribes first and then reads the log, so nothing is lost in between. After that a
commit wakes it: if the commit continues at its position, it uses that; if not (it was slow, or the
notification came without the entries) it reads the log again. The log is the truth, so there is no
gap and no repetition.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Final

from outlast.model.error import ExecutionNotFound, Overloaded
from outlast.model.event import (
    START,
    TERMINAL_EVENTS,
    ChildFinished,
    Cursor,
    Entry,
    ExecutionStarted,
    TextAdded,
    ThinkingAdded,
    expand,
)
from outlast.model.execution import RESTING, TERMINAL, Execution
from outlast.replay import Replays
from outlast.store.executions.store import ExecutionStore
from outlast.store.listeners import Committed

_BUFFER: Final = 64
"""Commits buffered for a slow follower before it must read the log."""
POLL_SECONDS: Final = 20.0
"""Interval at which a follower reads the log without a notification: one may be lost."""
_SILENT_READS: Final = 3
"""Reads in a row that find nothing new, after which a follower looks whether there still is a log:
the end of an execution that was deleted may have been missed."""
_AWAY_SECONDS: Final = 1.0
"""How long a follower waits before it tries an unavailable database again."""
_GOING_ON: Final = (TextAdded, ThinkingAdded, ExecutionStarted, ChildFinished)
"""Events behind which an execution never rests."""


class _Subscription:
    __slots__ = ("_waiter", "commits", "overflowed")

    def __init__(self) -> None:
        self.commits: list[Committed] = []
        self.overflowed = False
        self._waiter: asyncio.Future[None] | None = None

    def add(self, committed: Committed) -> None:
        if len(self.commits) < _BUFFER:
            self.commits.append(committed)
        else:
            self.overflowed = True
            self.commits[:-1] = []
        self.wake()

    def wake(self) -> None:
        """End the wait, commits or not."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self) -> None:
        """Return when a commit came, or on `wake`."""
        if self.commits:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def wait_for(self, seconds: float) -> None:
        """Like wait, with a bound."""
        timer = asyncio.get_running_loop().call_later(seconds, self.wake)
        try:
            await self.wait()
        finally:
            timer.cancel()

    def news(self, position: Cursor) -> list[Entry] | None:
        """Return the entries after the position; None if only the log has them."""
        overflowed = self.overflowed
        commits = self.take()
        return None if overflowed or not commits else _continue(position, commits)

    def look_again(self, seconds: float) -> None:
        """Wake up after `seconds`, to read the log."""
        self.overflowed = True
        self.commits.clear()
        asyncio.get_running_loop().call_later(seconds, self.wake)

    def take(self) -> list[Committed]:
        """Return the commits since; none where it overflowed and the log is to be read."""
        commits, self.commits = self.commits, []
        self.overflowed = False
        return commits


class _RestSubscription(_Subscription):
    """Wakes only for commits that may bring the execution to rest: a wake is costly."""

    __slots__ = ()

    def add(self, committed: Committed) -> None:
        execution = committed.execution
        moves_on = execution is not None and execution.status not in RESTING
        if self.commits or not (moves_on or _goes_on(committed)):
            super().add(committed)


class Streams:
    """All followers of executions in this process."""

    def __init__(self, store: ExecutionStore, poll_seconds: float = POLL_SECONDS) -> None:
        self._store = store
        self._replays = Replays(store)
        self.poll_seconds = poll_seconds
        self._subscriptions: dict[str, set[_Subscription]] = defaultdict(set)
        self._sweeper: asyncio.TimerHandle | None = None
        self.leaving = False

    def leave(self) -> None:
        """Release everyone who waits for an execution to rest: the server is shutting down."""
        self.leaving = True
        self._wake_all()

    def committed(self, committed: Committed) -> None:
        """Pass a commit to the followers of its execution; called for every commit in order."""
        for subscription in self._subscriptions.get(committed.execution_id, ()):
            subscription.add(committed)

    def missed(self) -> None:
        """Make every follower read the log: notifications of commits may have been lost."""
        self._wake_all()

    @property
    def followers(self) -> int:
        """Number of followers now."""
        return sum(len(group) for group in self._subscriptions.values())

    async def follow(
        self, workspace_id: str, execution_id: str, after: Cursor = START
    ) -> AsyncGenerator[list[Entry], None]:
        """Yield the log's entries after `after`, piece by piece, in batches as they come.

        Ends after the last entry of an execution that has ended, and once its log is deleted; held
        open through suspension and pause. An empty batch means that nothing happened for a while.
        Raises ExecutionNotFound.
        """
        position = after
        with self._subscribed(execution_id, _Subscription()) as subscription:
            while True:
                try:
                    over = (await self._store.get(workspace_id, execution_id)).status in TERMINAL
                    ended = False
                    pages = self._replays.entries(workspace_id, execution_id, position)
                    async with aclosing(pages):
                        async for entries in pages:
                            position = entries[-1].cursor
                            ended = isinstance(entries[-1].event, TERMINAL_EVENTS)
                            yield entries
                    # An end may be followed by a resume; the log's last entry is the end.
                    if ended or (over and position == after):
                        return
                    if over and await self._is_gone(workspace_id, execution_id):
                        return
                except Overloaded:  # the stream outlasts a database that is away for a while
                    yield []
                    subscription.look_again(_AWAY_SECONDS)
                    await subscription.wait()
                else:
                    break
            async with aclosing(
                self._live(workspace_id, execution_id, position, subscription)
            ) as news:
                async for entries in news:
                    yield entries

    async def _is_gone(self, workspace_id: str, execution_id: str) -> bool:
        """Whether the execution was deleted or purged, so that its log has no end."""
        try:
            return (await self._store.get(workspace_id, execution_id)).is_purged
        except ExecutionNotFound:
            return True

    def expect(self, execution_id: str) -> "NewFollower":
        """Subscribe to an execution before it is created; `follow` or `forget` the result."""
        return NewFollower(self, execution_id)

    async def _live(
        self, workspace_id: str, execution_id: str, position: Cursor, subscription: _Subscription
    ) -> AsyncGenerator[list[Entry], None]:
        silent = 0
        while True:
            await subscription.wait()
            news = subscription.news(position)
            if news is not None:
                silent = 0
                position = news[-1].cursor if news else position
                yield news
                if news and isinstance(news[-1].event, TERMINAL_EVENTS):
                    return
                continue
            ended = read = False
            try:
                async with aclosing(
                    self._replays.entries(workspace_id, execution_id, position)
                ) as pages:
                    async for entries in pages:
                        position, read = entries[-1].cursor, True
                        ended = isinstance(entries[-1].event, TERMINAL_EVENTS)
                        yield entries
                silent = 0 if read else silent + 1
                if silent == _SILENT_READS:
                    silent = 0
                    ended = await self._is_gone(workspace_id, execution_id)
            except Overloaded:
                subscription.look_again(_AWAY_SECONDS)
                ended = False
            if ended:
                return
            if not read:
                yield []

    @contextmanager
    def watch(self, workspace_id: str, execution_id: str) -> Iterator["RestWaiter"]:
        """Watch an execution from now on, preferably before it is created."""
        with self._subscribed(execution_id, _RestSubscription()) as subscription:
            yield RestWaiter(self, self._store, subscription, workspace_id, execution_id)

    async def rest(
        self, workspace_id: str, execution_id: str, seconds: float, *, idle: bool = False
    ) -> Execution:
        """Wait at most `seconds` until the execution rests; return it as it is then.

        `idle`: until no worker has it, though it may be shown as running. Raises ExecutionNotFound.
        """
        with self.watch(workspace_id, execution_id) as watch:
            execution = await self._store.get(workspace_id, execution_id)
            return await watch.rest(execution, seconds, idle=idle)

    @contextmanager
    def _subscribed(
        self, execution_id: str, subscription: _Subscription
    ) -> Iterator[_Subscription]:
        self._subscribe(execution_id, subscription)
        try:
            yield subscription
        finally:
            self._unsubscribe(execution_id, subscription)

    def _subscribe(self, execution_id: str, subscription: _Subscription) -> _Subscription:
        self._subscriptions[execution_id].add(subscription)
        if self._sweeper is None:
            self._sweep()
        return subscription

    def _unsubscribe(self, execution_id: str, subscription: _Subscription) -> None:
        group = self._subscriptions.get(execution_id)
        if group is not None:
            group.discard(subscription)
            if not group:
                del self._subscriptions[execution_id]

    def _sweep(self) -> None:
        """Make every follower read the log at intervals, while there are any."""
        loop = asyncio.get_running_loop()
        self._wake_all()
        following = bool(self._subscriptions)
        self._sweeper = loop.call_later(self.poll_seconds, self._sweep) if following else None

    def _wake_all(self) -> None:
        for group in self._subscriptions.values():
            for subscription in group:
                subscription.wake()

    async def so_far(self, workspace_id: str, execution_id: str) -> list[Entry]:
        """Return the log so far, piece by piece."""
        pages = self._replays.entries(workspace_id, execution_id, START)
        return [entry async for entries in pages for entry in entries]

    async def replay(
        self, workspace_id: str, execution_id: str, after: Cursor = START, *, whole: bool = False
    ) -> AsyncGenerator[list[Entry], None]:
        """Yield the same in batches, one of which is in memory at a time; see Replays.entries."""
        found = self._replays.entries(workspace_id, execution_id, after, whole=whole)
        async with aclosing(found) as pages:
            async for entries in pages:
                yield entries


class NewFollower:
    """A follower of an execution from its first commit on: nothing has to be read."""

    def __init__(self, streams: Streams, execution_id: str) -> None:
        self._streams = streams
        self._execution_id = execution_id
        self._subscription = streams._subscribe(execution_id, _Subscription())  # noqa: SLF001 - Streams' own other half

    async def follow(self, workspace_id: str) -> AsyncGenerator[list[Entry], None]:
        """Like Streams.follow, from the start."""
        try:
            live = self._streams._live(  # noqa: SLF001
                workspace_id, self._execution_id, START, self._subscription
            )
            async with aclosing(live) as news:
                async for entries in news:
                    yield entries
        finally:
            self.forget()

    def forget(self) -> None:
        """Stop following."""
        self._streams._unsubscribe(self._execution_id, self._subscription)  # noqa: SLF001


class RestWaiter:
    """Waits for one execution to come to rest."""

    def __init__(
        self,
        streams: Streams,
        store: ExecutionStore,
        subscription: _Subscription,
        workspace_id: str,
        execution_id: str,
    ) -> None:
        self._streams = streams
        self._store = store
        self._subscription = subscription
        self.newest: Committed | None = None
        """The newest commit that it has seen of the row."""
        self._workspace_id = workspace_id
        self._execution_id = execution_id

    async def rest(self, execution: Execution, seconds: float, *, idle: bool = False) -> Execution:
        """Wait at most `seconds` until it is shown as ended, suspended or paused; return it.

        `idle`: until no worker has it, though it may be shown as running. `execution` is the row as
        the caller knows it, read or written after the watch began.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while not (self._streams.leaving or _rests(execution, idle=idle)):
            if (left := deadline - loop.time()) <= 0:
                break
            await self._subscription.wait_for(min(left, self._streams.poll_seconds))
            overflowed = self._subscription.overflowed
            commits = self._subscription.take()
            for committed in commits:
                if committed.execution is not None:
                    execution, self.newest = committed.execution, committed
            if overflowed or not commits or any(map(_unread, commits)):
                execution = await self._read(execution)
        return execution

    async def _read(self, execution: Execution) -> Execution:
        """Return the row as it is now; the last known one if the database is unavailable."""
        try:
            return await self._store.get(self._workspace_id, self._execution_id)
        except Overloaded:
            self._subscription.look_again(_AWAY_SECONDS)
            return execution


def _rests(execution: Execution, *, idle: bool) -> bool:
    return (execution.status if idle else execution.shown_status) in RESTING


def _unread(committed: Committed) -> bool:
    """Whether a commit of another process may have changed the row."""
    return committed.execution is None and not _goes_on(committed)


def _goes_on(committed: Committed) -> bool:
    """Whether the commit holds nothing behind which an execution rests."""
    return bool(committed.entries) and all(
        isinstance(entry.event, _GOING_ON) for entry in committed.entries
    )


def _continue(position: Cursor, commits: list[Committed]) -> list[Entry] | None:
    """Return the new entries of these commits; None if there is a gap after the position."""
    found: list[Entry] = []
    for committed in commits:
        if not committed.entries:  # a notification without entries
            return None
        for entry in committed.entries:
            end = entry.cursor
            if end <= position:
                continue
            if entry.first_seq > position.seq + 1:
                return None
            found.extend(expand((entry,), position))
            position = end
    return found
