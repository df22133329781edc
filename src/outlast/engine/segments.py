"""The segments that run in this process, whoever decided that they run here."""

import asyncio
from typing import Final

import structlog
from structlog.contextvars import bind_contextvars, unbind_contextvars

from outlast.engine.runner import Runner
from outlast.engine.segment import Segment, Stop
from outlast.engine.timing import seconds_left
from outlast.model.clock import Clock
from outlast.model.error import OutlastError, StaleWrite
from outlast.model.execution import SEEN_MILLIS, Execution, PauseRequest

_WATCH_SECONDS: Final = 1.0
_SEEN_SECONDS: Final = SEEN_MILLIS / 1000 - _WATCH_SECONDS

logger = structlog.get_logger(__name__)


class Segments:
    """Runs segments, at most one of an execution, and stops them on request."""

    def __init__(self, runner: Runner, clock: Clock) -> None:
        self._runner = runner
        self._clock = clock
        self._running: dict[str, Segment] = {}
        self._ended = asyncio.Event()

    def __len__(self) -> int:
        return len(self._running)

    def __contains__(self, execution_id: str) -> bool:
        return execution_id in self._running

    def begin(self, execution: Execution) -> Segment:
        """From now on it can be stopped; `run` it next."""
        segment = self._running[execution.id] = Segment(execution)
        return segment

    async def run(self, segment: Segment) -> bool:
        """Run a begun segment to its end, in a task of its own; False where another try is due.

        That is where this process failed it, and where the row or the log were not as this segment
        left them: whoever tries again reads whether there is anything left to do.
        """
        execution = segment.execution
        ended = False
        unbind_contextvars("request")  # that in whose commit the task was made
        bind_contextvars(execution=execution.id)  # the task is the segment's own
        try:
            await self._runner.run(segment)
            ended = True
        except StaleWrite:
            logger.warning("segment.stale", segment=execution.segment)
        except Exception:
            logger.exception("segment.failed")
        finally:
            del self._running[execution.id]
            self._ended.set()
        return ended and segment.stopped is not Stop.ABANDON

    def cancel(self, execution_id: str) -> bool:
        """Stop the segment of this execution, closing its model call; False if none runs here."""
        segment = self._running.get(execution_id)
        if segment is None:
            return False
        segment.stop(Stop.CANCEL)
        return True

    def pause(self, execution_id: str, wish: PauseRequest) -> bool:
        """Let the segment of this execution end at the next boundary, or now; False as above."""
        segment = self._running.get(execution_id)
        if segment is None:
            return False
        segment.pause(wish)
        return True

    def stop(self, reason: Stop) -> None:
        """Ask every segment to end."""
        for segment in self._running.values():
            segment.stop(reason)

    async def ended(self, seconds: float) -> None:
        """Wait until none runs, at most so many seconds."""
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
        """Stop segments whose time is spent, and count the time of the rest, while this runs."""
        async with asyncio.TaskGroup() as group:
            counting: asyncio.Task[None] | None = None
            while True:
                await self._clock.sleep(_WATCH_SECONDS)
                now = self._clock.monotonic()
                for segment in self._running.values():
                    if segment.stopped is None and seconds_left(segment, now) <= 0:
                        segment.stop(Stop.LIMIT)
                if counting is None or counting.done():  # a slow database delays no limit
                    counting = group.create_task(self._count(now))

    async def _count(self, monotonic: float) -> None:
        """Write the time of long steps, which a crash would forget; short ones end with a write."""
        at = self._clock.now()
        long = [s for s in self._running.values() if s.unseen(monotonic) >= _SEEN_SECONDS]
        if not long:
            return
        try:
            await self._runner.store.seen([segment.sighting(monotonic, at) for segment in long])
        except OutlastError:
            logger.warning("segments.not_counted", count=len(long))
            return
        for segment in long:
            segment.seen = monotonic
