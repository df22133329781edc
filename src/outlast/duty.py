"""Repeated background work of a process, and its failures.

Nothing fails silently: any error of a duty is logged and counted, and the duty continues.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

import structlog

from outlast.model.error import OutlastError

_RETRY: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
_CANCEL_AGAIN_SECONDS: Final = 0.1
_RESTART_SECONDS: Final = 1.0

T = TypeVar("T")

logger = structlog.get_logger(__name__)


class Failures:
    """Logs and counts failures of work that has no caller, by the work's name."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def record(self, duty: str, error: BaseException) -> None:
        """Log and count one failure; an OutlastError without its traceback."""
        self.counts[duty] += 1
        if isinstance(error, OutlastError):
            logger.warning("duty.failed", duty=duty, reason=error.message)
        else:
            logger.error("duty.failed", duty=duty, exc_info=error)

    def spawn(self, work: Coroutine[Any, Any, T], duty: str) -> asyncio.Task[T]:
        """Run work that has no caller in a task of this name; record what it raises.

        The caller keeps the task, and cancels it at the end.
        """
        task = asyncio.get_running_loop().create_task(work, name=duty)
        task.add_done_callback(lambda done: self.ended(done, duty))
        return task

    def ended(self, task: asyncio.Task[Any], duty: str) -> None:
        """Record the error of a finished task, if there is one."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.record(duty, error)


class Duty:
    """Runs a function at an interval until stopped, whatever it raises."""

    def __init__(
        self,
        name: str,
        run: Callable[[], Awaitable[object]],
        *,
        every: float,
        sleep: Callable[[float], Awaitable[None]],
        failures: Failures,
        retry: tuple[float, ...] = _RETRY,
        first: float | None = None,
    ) -> None:
        """`retry`: seconds to wait after the first, second, … failure in a row; the last repeats.

        `first`: seconds before the first run; None: the interval.
        """
        self._name = name
        self._run = run
        self._every = every
        self._sleep = sleep
        self._failures = failures
        self._retry = retry
        self._wait = every if first is None else first
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start it in a task of its own."""
        self._task = asyncio.get_running_loop().create_task(self.forever(), name=self._name)
        self._task.add_done_callback(self._ended)

    @property
    def running(self) -> bool:
        """Whether it was started and has not stopped."""
        return self._task is not None and not self._task.done()

    async def stop(self) -> None:
        """Stop, also in the middle of a run.

        Cancels until it has ended: Python 3.11's `wait_for`, by which psycopg waits, swallows a
        cancellation that comes with its result: https://github.com/python/cpython/issues/86296
        """
        task, self._task = self._task, None
        while task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_AGAIN_SECONDS)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Restart if the loop itself has failed, for example in its sleep or in logging."""
        if task is self._task and not task.cancelled():
            self._failures.ended(task, self._name)
            task.get_loop().call_later(_RESTART_SECONDS, self._restart, task)

    def _restart(self, ended: asyncio.Task[None]) -> None:
        if self._task is ended:  # not stopped since
            self.start()

    async def forever(self) -> None:
        """Run repeatedly until this is cancelled."""
        failed = 0
        while True:
            if self._wait:
                await self._sleep(self._wait)
            failed = 0 if await self._try() else failed + 1
            self._wait = self._retry[min(failed, len(self._retry)) - 1] if failed else self._every

    async def _try(self) -> bool:
        """Run once; return False if it raised an error of any class."""
        try:
            await self._run()
        except BaseException as error:
            if _ends(error):
                raise
            self._failures.record(self._name, error)
            return False
        return True


def _ends(error: BaseException) -> bool:
    """Whether the task itself is cancelled or closed, not something that it waited for."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or bool(task.cancelling())
    return isinstance(error, GeneratorExit) and not _in_task()


def _in_task() -> bool:
    """Whether the event loop runs this code; it does not while an unreferenced task is closed."""
    try:
        return asyncio.current_task() is not None
    except RuntimeError:
        return False
