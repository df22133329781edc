"""Ends tasks and duties of a worker."""

import asyncio
from collections.abc import Iterable
from typing import Final

from outlast.duty import Duty

CANCEL_AGAIN_SECONDS: Final = 0.1


async def stop_all(duties: Iterable[Duty]) -> None:
    """Stop duties, all at once."""
    await asyncio.gather(*(duty.stop() for duty in duties))


async def end(tasks: Iterable[asyncio.Task[None]], seconds: float) -> None:
    """Cancel until all have ended, for a bounded time.

    Python 3.11's `wait_for`, by which psycopg waits, swallows a cancellation that comes with its
    result: https://github.com/python/cpython/issues/86296
    """
    tasks = set(tasks)
    pending = tasks
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while pending and loop.time() < deadline:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN_SECONDS)
    await asyncio.gather(*(tasks - pending), return_exceptions=True)
