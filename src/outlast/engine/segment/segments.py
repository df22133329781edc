"""The segments that run in this process."""

import asyncio
from typing import Final

import structlog
from structlog.contextvars import bind_contextvars, unbind_contextvars

from outlast.duty import Duty, Failures
from outlast.engine.segment.last_resort import LastResort
from outlast.engine.segment.runner import Runner
from outlast.engine.segment.segment import LEFT, Interrupted, Segment, Stop
from outlast.engine.segment.suspects import Suspects
from outlast.engine.segment.time_left import seconds_left
from outlast.model.clock import Clock
from outlast.model.error import ExecutionNotFound, Overloaded, StaleWrite
from outlast.model.execution import SEEN_MILLIS, UNREADABLE, Execution, PauseRequest, Status
from outlast.store.unreadable import Unreadable

_WATCH_SECONDS: Final = 1.0
_HARMLESS_SECONDS: Final = 10.0
"""A suspect that has run for this long without killing its process lets others in."""
_SEEN_SECONDS: Final = SEEN_MILLIS / 1000 - _WATCH_SECONDS

logger = structlog.get_logger(__name__)


class Segments:
    """Runs segments, at most one per execution, and stops them on request."""

    def __init__(
        self, runner: Runner, last_resort: LastResort, clock: Clock, failures: Failures
    ) -> None:
        self._runner = runner
        self._last_resort = last_resort
        self._clock = clock
        self._failures = failures
        self._suspects = Suspects()
        self._counting: asyncio.Task[None] | None = None
        self._watching = Duty(
            "watch_limits",
            self.watch_limits,
            every=_WATCH_SECONDS,
            sleep=clock.sleep,
            failures=failures,
            retry=(_WATCH_SECONDS,),
        )
        self._running: dict[str, Segment] = {}
        self._ended = asyncio.Event()

    def __len__(self) -> int:
        return len(self._running)

    def __contains__(self, execution_id: str) -> bool:
        return execution_id in self._running

    def runs(self, execution_id: str) -> bool:
        """Whether a segment of it has the execution, and has not written its end."""
        segment = self._running.get(execution_id)
        return segment is not None and segment.execution.status is Status.RUNNING

    async def fail_unreadable(self, row: Unreadable) -> None:
        """Fail an execution for which a list has found a row that cannot be read."""
        await self._last_resort.end_unreadable(row)

    def retry_seconds(self, execution_id: str, usual: float) -> float:
        """Return the delay before the next try of an execution whose last one failed."""
        return self._last_resort.retry_seconds(execution_id, usual)

    async def read(self, workspace_id: str, execution_id: str) -> Execution | None:
        """Return the execution if a segment of it may run now. Raises Overloaded: try again.

        One that cannot be read is failed.
        """
        try:
            found = await self._runner.store.executions.get(workspace_id, execution_id)
        except ExecutionNotFound:
            return None
        except Overloaded as error:
            if await self._last_resort.unreachable(workspace_id, execution_id, error):
                return None
            raise
        except Exception as error:
            logger.exception("execution.unreadable", execution=execution_id)
            if not await self._last_resort.end(workspace_id, execution_id, UNREADABLE):
                raise Overloaded from error
            return None
        runs = found.status in (Status.QUEUED, Status.RUNNING) and not found.waiting
        return found if runs and not found.is_client_driven else None

    def begin(self, execution: Execution) -> Segment:
        """Register a segment, which can be stopped from now on; `run` it next."""
        segment = self._running[execution.id] = Segment(execution)
        segment.counted = not self._last_resort.was_away(execution.id)
        return segment

    def begun(self, execution: Execution) -> Segment:
        """Register the first segment of an execution whose creation has begun it."""
        segment = self.begin(execution)
        segment.begun, segment.began = True, self._clock.monotonic()
        segment.continues = segment.takes_over = False
        return segment

    async def run(self, segment: Segment) -> bool:
        """Run a begun segment to its end, in a task of its own; return False if another try is due.

        That is if this process failed it, or if the row or the log were not as this segment left
        them: the next try reads whether there is anything left to do.
        """
        execution_id = segment.execution.id
        unbind_contextvars("request")  # that in whose commit the task was made
        bind_contextvars(execution=execution_id)  # the task is the segment's own
        try:
            ended = await self._run(segment)
        finally:
            del self._running[execution_id]
            self._ended.set()
        return ended and segment.stopped not in LEFT

    async def _run(self, segment: Segment) -> bool:
        try:
            if segment.is_suspect:
                await segment.enter(self._suspects)
                segment.entered = self._clock.monotonic()
        except Interrupted:
            if segment.stopped in (*LEFT, Stop.RELEASE):
                return False  # the next try finds it as it is
        try:
            await self._runner.run(segment)
        except StaleWrite:
            logger.warning("segment.stale", segment=segment.execution.segment)
            return False
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - the top of a segment; the last resort settles it
            return await self._last_resort.failed(segment.execution, error)
        finally:
            segment.progressed(harmless=False)
            if segment.browser is not None:
                await segment.browser.close()
        self._last_resort.succeeded(segment.execution.id)
        return True

    def cancel(self, execution_id: str) -> bool:
        """Stop the segment and abort its model call; return False if none runs here."""
        segment = self._running.get(execution_id)
        if segment is None:
            return False
        segment.stop(Stop.CANCEL)
        return True

    def pause(self, execution_id: str, request: PauseRequest) -> bool:
        """Pause the segment at its next boundary, or now; return False if none runs here."""
        segment = self._running.get(execution_id)
        if segment is None:
            return False
        segment.pause(request)
        return True

    def stop(self, reason: Stop) -> None:
        """Stop every segment."""
        for segment in self._running.values():
            segment.stop(reason)

    async def ended(self, seconds: float) -> None:
        """Wait until none runs, at most `seconds`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while self._running and loop.time() < deadline:
            self._ended.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._ended.wait()
            except TimeoutError:
                return

    async def watch_limits(self) -> None:
        """Stop segments that are out of time, and record the time of the others."""
        now = self._clock.monotonic()
        for segment in self._running.values():
            if segment.suspects is not None and now - segment.entered >= _HARMLESS_SECONDS:
                segment.progressed()
            if segment.stopped is None and seconds_left(segment, now) <= 0:
                segment.stop(Stop.LIMIT)
        long = [s for s in self._running.values() if s.unseen(now) >= _SEEN_SECONDS]
        if long and (
            self._counting is None or self._counting.done()
        ):  # a slow database delays none
            self._counting = self._failures.spawn(self._count(long, now), "count_time")

    def start(self) -> None:
        """Begin to watch the limits of running segments."""
        self._watching.start()

    async def close(self) -> None:
        """Stop watching."""
        await self._watching.stop()
        if self._counting is not None:
            self._counting.cancel()
            await asyncio.wait({self._counting})

    async def _count(self, long: list[Segment], monotonic: float) -> None:
        """Write the time of long steps, which a crash would lose; short ones end with a write."""
        at = self._clock.now()
        left = await self._runner.store.executions.heartbeat(
            [segment.active_time(monotonic, at) for segment in long]
        )
        for segment, millis in zip(long, left, strict=True):
            segment.seen = monotonic
            segment.time_counted(at, millis, monotonic)
