"""Waiting for what no event announces, within a bound."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from outlast.model.error import OutlastError

T = TypeVar("T")

BOUND: Final = 120.0
"""Seconds that a test waits at most for something that takes a fraction of a second."""
LOOK_SECONDS: Final = 0.02
"""Between the first looks at another process or its tables."""
_GROWTH: Final = 1.15
"""Each pause is so much longer than the one before: what takes long is looked at seldom."""
_LONGEST_SECONDS: Final = 0.12
_PAUSE_SECONDS: Final = 0.01
_BUSY_LOOKS: Final = 50
"""After so many looks, what is waited for takes more than the next turn of the loop."""
_CANCEL_AGAIN_SECONDS: Final = 0.1


async def until(holds: Callable[[], bool]) -> None:
    """Return once it holds; meanwhile the other tasks of this loop go on."""
    looks = 0
    async with asyncio.timeout(BOUND):
        while not holds():
            looks += 1
            await (asyncio.sleep(0) if looks < _BUSY_LOOKS else between_looks())


async def between_looks() -> None:
    """Let this process's tasks and threads go on between two looks at its own database.

    Looks without a pause would take as much processor time as what they wait for.
    """
    await asyncio.sleep(_PAUSE_SECONDS)


async def until_found(
    look: Callable[[], Awaitable[T | None]], seconds: float = BOUND, *, steady: bool = False
) -> T:
    """Look again and again at what another process changes; return what is true at last.

    `steady`: the looks stay as frequent as at first, to meet a moment that soon passes.
    """
    pause = LOOK_SECONDS
    async with asyncio.timeout(seconds):
        while not (found := await look()):
            await asyncio.sleep(pause)
            pause = pause if steady else min(_GROWTH * pause, _LONGEST_SECONDS)
    return found


async def lives_until(event: asyncio.Event, work: Awaitable[Any]) -> bool:
    """Run the work until it ends or the event is set; return whether it is set.

    The work may fail as Outlast fails, and has ended in either case.
    """
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    done, _ = await asyncio.wait(
        {working, waiting}, timeout=BOUND, return_when=asyncio.FIRST_COMPLETED
    )
    happened = event.is_set()
    await end_tasks(working, waiting)
    assert done, "neither the work nor the event came to an end"
    if not working.cancelled() and (error := working.exception()) is not None:
        assert isinstance(error, OutlastError), error
    return happened


async def end_tasks(*tasks: "asyncio.Future[Any]") -> None:
    """Cancel until all have ended: Python 3.11's `wait_for`, by which psycopg waits, swallows a
    cancellation that comes with its result (https://github.com/python/cpython/issues/86296)."""
    async with asyncio.timeout(BOUND):
        while pending := [task for task in tasks if not task.done()]:
            for task in pending:
                task.cancel()
            await asyncio.wait(pending, timeout=_CANCEL_AGAIN_SECONDS)
