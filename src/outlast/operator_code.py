"""Runs the operator's code so that it cannot block its caller or the end of the process.

A function may swallow its cancellation, and a thread cannot be stopped: waits for either are
bounded, and the process ends without it.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

LEAVING_SECONDS: Final = 2.0
"""How long a cancelled function may take to end."""

_left: Final[set[asyncio.Task[Any]]] = set()
"""Tasks that are no longer awaited; kept here, as the event loop holds weak references only."""


async def bounded(
    work: Coroutine[Any, Any, T], left: Callable[[], None], seconds: float | None = None
) -> T:
    """Await the work in a task of its own, at most `seconds`.

    Cancelled, or out of time, it may take `LEAVING_SECONDS` to end; then `left` is called and it
    runs on in the background. Raises TimeoutError if it was out of time and returned nothing.
    """
    task = asyncio.get_running_loop().create_task(work, name="operator_function")
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await _leave(task, left)
        raise
    if not task.done():
        if await _leave(task, left):
            raise asyncio.CancelledError
        if not task.done() or task.cancelled():
            raise TimeoutError
    return task.result()


async def _leave(task: asyncio.Task[Any], left: Callable[[], None]) -> bool:
    """Cancel the task and wait for its end; return True if the caller was cancelled meanwhile."""
    loop = asyncio.get_running_loop()
    deadline, cancelled = loop.time() + LEAVING_SECONDS, False
    task.cancel()
    while not task.done() and (seconds := deadline - loop.time()) > 0:
        try:
            await asyncio.wait({task}, timeout=seconds)
        except asyncio.CancelledError:
            cancelled = True
            task.cancel()
    if not task.done():
        _left.add(task)
        left()
    task.add_done_callback(_ended)
    return cancelled


def _ended(task: asyncio.Task[Any]) -> None:
    _left.discard(task)
    if not task.cancelled():
        task.exception()  # its result is dropped, and asyncio would log it a second time


async def cancel_rest(seconds: float) -> int:
    """Cancel every other task of this loop; return how many have not ended within `seconds`."""
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    if not rest:
        return 0
    _, pending = await asyncio.wait(rest, timeout=seconds)
    return len(pending)


def threads_left(seconds: float, now: Callable[[], float]) -> int:
    """Return how many threads that an interpreter waits for still run after `seconds`."""
    deadline = now() + seconds
    threads = [
        thread
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.current_thread()
    ]
    for thread in threads:
        thread.join(max(0.0, deadline - now()))
    return sum(thread.is_alive() for thread in threads)
