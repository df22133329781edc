"""The engine of one process: segments are asyncio tasks, the executions' rows are the queue.

An execution that finds no free slot waits by its id; its row is read when its turn comes. After a
crash the rows say which executions were running or queued.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog

from outlast.duty import Failures
from outlast.engine.segment.segment import Segment, Stop
from outlast.engine.segment.segments import Segments
from outlast.model.clock import Clock
from outlast.model.error import OutlastError
from outlast.model.execution import Execution, PauseRequest
from outlast.operator_code import LEAVING_SECONDS
from outlast.store.store import Store

_RECOVERY_PAGE: Final = 500
_FIRST_WAIT: Final = 1.0
_LONGEST_WAIT: Final = 30.0
_LEAVE_SECONDS: Final = LEAVING_SECONDS + 1.0
"""Bound for segments stopped at once: they end as soon as their model or tool returns."""

logger = structlog.get_logger(__name__)


class InlineEngine:
    """Runs at most `concurrency` segments at a time, in the order in which they became runnable."""

    taken_over = orphans = 0
    """Always 0: there is no other worker, and no queue beside the rows."""
    duties = ()

    def __init__(
        self,
        store: Store,
        segments: Segments,
        clock: Clock,
        failures: Failures,
        *,
        concurrency: int,
    ) -> None:
        self._store = store
        self._watched = failures
        """Counts errors of tasks."""
        self._segments = segments
        self._clock = clock
        self._concurrency = concurrency
        self._backlog: deque[tuple[str, str]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._waits: set[asyncio.Task[None]] = set()
        """Tasks that only wait; they can be cancelled without loss."""
        self._wanted: set[str] = set()
        """Executions that are runnable again while their previous segment is still ending."""
        self._kept: set[str] = set()
        """Executions that are being created, or read to begin: for each a slot is kept."""
        self._accepting = False
        self._failures: dict[str, int] = {}
        """Consecutive failures of the store or this process, by execution."""

    @property
    def running(self) -> int:
        return len(self._segments)

    @property
    def backlog(self) -> int:
        """Executions that wait for a free slot."""
        return len(self._backlog)

    @property
    def accepting(self) -> bool:
        return self._accepting

    async def open(self) -> None:
        pass

    async def workers(self) -> int:
        return 1

    async def start(self, *, recover: bool = True) -> None:
        self._accepting = True
        self._segments.start()
        if recover:
            await self._recover()

    async def stop(self, grace_seconds: float) -> None:
        self._accepting = False
        self._backlog.clear()
        for wait in self._waits:
            wait.cancel()
        for reason, seconds in (
            (Stop.RELEASE, grace_seconds),
            (Stop.LEAVE, _LEAVE_SECONDS),
        ):
            self._segments.stop(reason)
            if self._tasks:
                _, left = await asyncio.wait(self._tasks, timeout=seconds)
                self._tasks -= left if reason is Stop.LEAVE else set()  # waited for only once
        await self._segments.close()

    def runnable(self, execution: Execution) -> None:
        if not self._accepting:
            return
        if self._has_free_slot and not self._backlog:
            self._begin(execution)
        else:
            self._backlog.append((execution.workspace_id, execution.id))

    @contextmanager
    def free_slot(self, execution_id: str) -> Iterator[bool]:
        if not self._accepting or self._backlog or not self._has_free_slot:
            yield False
            return
        self._kept.add(execution_id)
        try:
            yield True
        finally:
            if execution_id in self._kept:
                self._kept.remove(execution_id)
                self._fill()

    def begun(self, execution: Execution) -> None:
        """Run it in the slot that was kept; if the engine stops, its segment ends at once."""
        self._kept.discard(execution.id)
        segment = self._segments.begun(execution)
        if not self._accepting:
            segment.stop(Stop.LEAVE)
        self._spawn(self._run(segment), execution.id, self._tasks)

    def cancel(self, execution_id: str) -> bool:
        return self._segments.cancel(execution_id)

    def requested(self, execution_id: str) -> None:
        """Do nothing: there is no other process."""

    def pause(self, execution_id: str, request: PauseRequest) -> bool:
        return self._segments.pause(execution_id, request)

    # --- segments

    @property
    def _has_free_slot(self) -> bool:
        return len(self._segments) + len(self._kept) < self._concurrency

    def _begin(self, execution: Execution) -> None:
        if execution.id in self._segments:
            self._wanted.add(execution.id)
        else:
            work = self._run(self._segments.begin(execution))
            self._spawn(work, execution.id, self._tasks)

    def _spawn(
        self, work: Coroutine[Any, Any, None], name: str, group: set[asyncio.Task[None]]
    ) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        group.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._waits.discard(task)
        self._watched.ended(task, "run_segments")

    async def _run(self, segment: Segment) -> None:
        execution = segment.execution
        failed = not await self._segments.run(segment)
        if execution.id in self._wanted:
            self._wanted.discard(execution.id)
            self._backlog.append((execution.workspace_id, execution.id))
        if failed and self._accepting:
            failures = self._failures[execution.id] = self._failures.get(execution.id, 0) + 1
            seconds = min(_FIRST_WAIT * 2 ** min(failures - 1, 10), _LONGEST_WAIT)
            self._try_in(execution.workspace_id, execution.id, seconds)
        elif self._failures:
            self._failures.pop(execution.id, None)
        self._fill()

    def _fill(self) -> None:
        """Begin the next waiting execution if there is a free slot."""
        if self._accepting and self._backlog and self._has_free_slot:
            workspace_id, execution_id = self._backlog.popleft()
            self._kept.add(execution_id)
            work = self._read_and_begin(workspace_id, execution_id)
            self._spawn(work, execution_id, self._waits)

    async def _read_and_begin(self, workspace_id: str, execution_id: str) -> None:
        try:
            try:
                execution = await self._segments.read(workspace_id, execution_id)
            finally:
                self._kept.discard(execution_id)
        except OutlastError:
            if self._segments.retry_seconds(execution_id, _FIRST_WAIT) > _FIRST_WAIT:
                self._try_in(workspace_id, execution_id, _FIRST_WAIT)
            else:
                self._backlog.append((workspace_id, execution_id))
                await self._clock.sleep(_FIRST_WAIT)
        else:
            if self._accepting and execution is not None:
                self._begin(execution)
        self._fill()

    def _try_in(self, workspace_id: str, execution_id: str, seconds: float) -> None:
        """Run an execution again after this delay, or a longer one if it was given up."""
        seconds = self._segments.retry_seconds(execution_id, seconds)
        again = self._again(workspace_id, execution_id, seconds)
        self._spawn(again, execution_id, self._waits)

    async def _again(self, workspace_id: str, execution_id: str, seconds: float) -> None:
        """Run an execution again after a failure of the store or this process."""
        await self._clock.sleep(seconds)
        try:
            execution = await self._segments.read(workspace_id, execution_id)
        except OutlastError:
            self._try_in(workspace_id, execution_id, min(2 * seconds, _LONGEST_WAIT))
            return
        if execution is not None:
            self.runnable(execution)

    # --- after a crash

    async def _recover(self) -> None:
        """Queue the executions that were running or queued, oldest first."""
        after, found = "", 0
        while page := await self._store.executions.unfinished(after, _RECOVERY_PAGE):
            self._backlog.extend((one.workspace_id, one.id) for one in page)
            after = page[-1].id
            found += len(page)
        if found:
            logger.info("executions.recovered", count=found)
            self._fill()
