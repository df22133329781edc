"""What a worker does repeatedly, with connections that are replaced once the database is back."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias, TypeVar

from outlast.duty import Duty, Failures
from outlast.engine.dispatch.procrastinate.queue import Queue
from outlast.model.error import OutlastError

AWAY_SECONDS: Final = 0.5
"""Delay before the unavailable database is tried again."""

Work: TypeAlias = Callable[[], Awaitable[None]]
T = TypeVar("T")


class RepeatedWork:
    """Runs the duties of one worker."""

    def __init__(self, queue: Queue, failures: Failures) -> None:
        self._queue = queue
        self._failures = failures

    def start(self, *duties: tuple[Work, float], first: float | None = None) -> list[Duty]:
        """Run each repeatedly, with its pause before and in between; `first`: another one before.

        After a first failure it is repeated at once: a heartbeat has no time to lose.
        """
        found = [
            Duty(
                _name(work),
                partial(self.mending, work),
                every=seconds,
                sleep=pause,
                failures=self._failures,
                retry=(0, AWAY_SECONDS),
                first=first,
            )
            for work, seconds in duties
        ]
        for duty in found:
            duty.start()
        return found

    async def once(self, work: Work) -> bool:
        """Do it now; return False, and log why, if the database is unavailable."""
        try:
            await self.mending(work)
        except OutlastError as error:
            self._failures.record(_name(work), error)
            return False
        return True

    async def mending(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it; replace the connections if it found the database unavailable."""
        try:
            return await work()
        except OutlastError:
            await self._queue.repair()
            raise


async def pause(seconds: float) -> None:
    """Wait by the event loop's time: the queue's is never the Clock's."""
    await asyncio.sleep(seconds)  # noqa: TID251 - the queue's time is real


def _name(work: Work) -> str:
    return f"queue{work.__name__}"
