"""The engine of many processes: a segment is run by the worker that has its job.

advance ──► job, in the same transaction ──► a worker fetches it ──► one segment ──► job deleted

A worker whose heartbeats stop loses its jobs to the others. It stops its segments itself before
that; later writes are refused by the segment's number. Time here is the database's and the event
loop's, never the Clock's: processes must agree on it.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final, TypeAlias

import structlog

from outlast.duty import Duty, Failures
from outlast.engine.dispatch.port import BeginsApart
from outlast.engine.dispatch.procrastinate.jobs import Held, Jobs
from outlast.engine.dispatch.procrastinate.lease import Lease
from outlast.engine.dispatch.procrastinate.news import News
from outlast.engine.dispatch.procrastinate.queue import CHANNEL, Job, Queue, is_of_new_job
from outlast.engine.dispatch.procrastinate.repeated import AWAY_SECONDS, RepeatedWork, pause
from outlast.engine.dispatch.procrastinate.task_end import CANCEL_AGAIN_SECONDS, end, stop_all
from outlast.engine.maintenance.duty import MaintenanceDuty
from outlast.engine.maintenance.orphans import Orphans
from outlast.engine.maintenance.queue_counts import QueueCounts
from outlast.engine.maintenance.silent_workers import SilentWorkers
from outlast.engine.segment.segment import Stop
from outlast.engine.segment.segments import Segments
from outlast.model.clock import Clock
from outlast.model.error import OutlastError
from outlast.model.execution import Execution, PauseRequest
from outlast.operator_code import LEAVING_SECONDS
from outlast.store.store import Store
from outlast.store.unreadable import Unreadable

_POLL_SECONDS: Final = 5.0
"""How often a worker looks for jobs without a notification; the leader repeats lost ones."""
_DUE_SECONDS: Final = 0.05
"""How long after its due time a returned job is looked for: clocks differ a little."""
_CROWDED_SECONDS: Final = 0.1
_LOOK_SECONDS: Final = 0.005
_REQUEST_SECONDS: Final = 1.0
"""Interval at which rows are checked for requests whose notification was lost."""
_LONGEST_WAIT: Final = 30
_LEAVE_SECONDS: Final = LEAVING_SECONDS + 1.0
_BEATS: Final = 3
"""Heartbeats within the time after which a silent worker loses its jobs."""

_Task: TypeAlias = asyncio.Task[None]

logger = structlog.get_logger(__name__)


class ProcrastinateEngine(BeginsApart):
    """Runs at most `concurrency` segments in this process; with 0 it only enqueues them."""

    def __init__(
        self,
        store: Store,
        segments: Segments,
        queue: Queue,
        jobs: Jobs,
        clock: Clock,
        *,
        concurrency: int,
        takeover_seconds: float,
        failures: Failures,
    ) -> None:
        self._failures = failures
        self._store = store
        self._segments = segments
        self._queue = queue
        self._repeated = RepeatedWork(queue, failures)
        self._jobs = jobs
        jobs.place, jobs.unknown = self._place, self._uncertain
        if concurrency:
            jobs.receive(CHANNEL, self._notified)
        self._clock = clock
        self._concurrency = concurrency
        self._takeover = takeover_seconds
        self._beat_seconds = takeover_seconds / _BEATS
        self._lease = Lease(takeover_seconds - self._beat_seconds / 2)
        self._worker: int | None = None
        self._held: dict[_Task, Job] = {}
        """The jobs that this worker has."""
        self._unavailable = False
        """Whether a job may have been fetched without an answer."""
        self._unanswered = False
        """Whether an unanswered commit may have given this worker a job."""
        self._news = News()
        self._requested = asyncio.Event()
        self._accepting = False
        self._staying: list[Duty] = []
        self._working: list[Duty] = []
        self._connections = contextlib.AsyncExitStack()
        self._silent = SilentWorkers(queue, takeover_seconds)
        self._counts = QueueCounts(queue)
        self._orphans = Orphans(store.executions, queue, clock, _BEATS * takeover_seconds)

    @property
    def duties(self) -> tuple[MaintenanceDuty, ...]:
        """The queue's duties, if this process has connections to it."""
        if self._concurrency == 0:
            return ()
        found = (self._silent.duty, self._counts.duty, self._orphans.duty)
        return tuple(
            replace(duty, run=partial(self._batch, duty.run), sleep=pause) for duty in found
        )

    @property
    def backlog(self) -> int:
        return self._counts.waiting

    @property
    def taken_over(self) -> int:
        return self._silent.taken_over

    @property
    def orphans(self) -> int:
        return self._orphans.found

    @property
    def running(self) -> int:
        return len(self._segments)

    @property
    def accepting(self) -> bool:
        return self._accepting

    async def open(self) -> None:
        await self._connections.enter_async_context(self._queue.prepared())
        if self._concurrency == 0:  # it only enqueues, which needs no connection of the queue's
            await self._connections.aclose()

    async def workers(self) -> int:
        if self._concurrency:
            return await self._queue.workers(self._takeover)
        async with self._queue.connected():
            return await self._queue.workers(self._takeover)

    async def start(self, *, recover: bool = True) -> None:
        """Begin to take jobs; executions of an earlier process have theirs already.

        Without a database, this worker registers once it is back.
        """
        del recover
        self._accepting = True
        if self._concurrency == 0:
            return
        first = None if await self._repeated.once(self._beat) else AWAY_SECONDS
        own = (self._beat, self._beat_seconds), (self._watch, 0.25), (self._read_requests, 0)
        self._staying = self._repeated.start(*own, first=first)
        self._working = self._repeated.start((self._take_jobs, 0))
        self._segments.start()

    async def stop(self, grace_seconds: float) -> None:
        """Take no more jobs; running segments end at their next commit or when the grace ends."""
        self._accepting = False
        self._segments.stop(Stop.RELEASE)  # at once: what follows may wait for the database
        await stop_all(self._working)
        if self._unavailable or self._unanswered:
            with contextlib.suppress(OutlastError):
                await self._reclaim()
        for reason, seconds in ((Stop.RELEASE, grace_seconds), (Stop.LEAVE, _LEAVE_SECONDS)):
            self._segments.stop(reason)
            if self._held:
                await asyncio.wait(self._held, timeout=seconds)
        await stop_all(self._staying)
        await end(list(self._held), _LEAVE_SECONDS)
        await self._segments.close()
        worker, self._worker = self._worker, None
        if worker is not None:
            try:
                await self._queue.leave(worker)
            except OutlastError:
                logger.warning("worker.left_in_silence", worker=worker)
        await self._connections.aclose()

    def runnable(self, execution: Execution) -> None:
        """Begin the execution, if the commit that made it runnable gave it to this worker."""
        worker = self._jobs.taken.pop(execution.id, None)
        if worker is not None and worker == self._worker:
            self._take(Job(execution.workspace_id, execution.id), worker, execution)

    def _place(self, execution: Execution) -> int | None:
        """Return this worker if it takes an execution at once: a free slot, and an empty queue."""
        nothing_waits = not (self._news.pending or self._unavailable)
        if self._free and nothing_waits and self._accepting and self._lease.holds:
            return None if execution.id in self._segments else self._worker
        return None

    def _uncertain(self) -> None:
        self._unanswered = True
        self._news.look()

    def requested(self, execution_id: str) -> None:
        if execution_id in self._segments:
            self._requested.set()

    def cancel(self, execution_id: str) -> bool:
        return self._segments.cancel(execution_id)

    def pause(self, execution_id: str, request: PauseRequest) -> bool:
        return self._segments.pause(execution_id, request)

    async def _batch(self, run: Callable[[int], Awaitable[int]], limit: int) -> int:
        return await self._repeated.mending(partial(run, limit))

    # --- the lease

    async def _beat(self) -> None:
        """Send a heartbeat; register as a new worker if the old one has expired."""
        await self._watch()
        began = asyncio.get_running_loop().time()
        if self._worker is not None and not await self._queue.beat(self._worker):
            self._give_up()
        if self._worker is None:
            self._worker = await self._queue.enter()
            self._news.look()
        self._lease.extend(began)

    async def _watch(self) -> None:
        """Stop all work once other workers may have taken it."""
        if self._worker is not None and not self._lease.holds:
            self._give_up()

    def _give_up(self) -> None:
        """Drop the worker identity until the next heartbeat: others have its jobs."""
        logger.warning("lease.lost", worker=self._worker, running=self.running)
        self._worker = None
        self._segments.stop(Stop.ABANDON)

    # --- jobs

    async def _take_jobs(self) -> None:
        """Fetch until there are no more jobs or free slots; then wait for news."""
        self._news.begin()
        if self._unavailable or self._unanswered:
            await self._reclaim()
        while self._free and self._news.pending:
            await self._uncrowded()
            if (worker := self._worker) is None:
                break
            self._unavailable = True
            self._news.fetch()
            job = await self._queue.fetch(worker)
            self._unavailable = False
            self._news.fetched(found=job is not None)
            if job is not None:
                self._take(job, worker)
        await self._news.wait(_POLL_SECONDS)

    async def _uncrowded(self) -> None:
        """Wait a little while many callers wait for the database: jobs begin in turn."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CROWDED_SECONDS):
                while self._store.driver.crowded:
                    await pause(_LOOK_SECONDS)

    @property
    def _free(self) -> bool:
        return len(self._held) + len(self._jobs.claimed) < self._concurrency

    def _take(self, job: Job, worker: int, execution: Execution | None = None) -> None:
        """Begin a job of this worker."""
        held = self._jobs.held[job.execution_id] = Held(worker)
        work = self._hold(job, held, execution)
        task = asyncio.get_running_loop().create_task(work, name=job.execution_id)
        self._held[task] = job
        task.add_done_callback(self._let_go)

    async def _reclaim(self) -> None:
        """Return jobs that became this worker's by an unanswered request."""
        self._unavailable, self._unanswered = True, False
        self._news.look()
        found = [] if self._worker is None else await self._queue.held(self._worker)
        known = {job.execution_id for job in self._held.values()}
        known |= self._jobs.claimed | self._jobs.taken.keys()
        for job in found:
            if job.execution_id not in known:
                logger.warning("job.reclaimed", execution=job.execution_id)
                await self._queue.give_out_anew(job)
        self._unavailable = False

    def _notified(self, payload: str) -> None:
        """Look for a job that was added, or for any."""
        (self._news.job if is_of_new_job(payload) else self._news.look)()

    def _let_go(self, task: _Task) -> None:
        if not self._free:
            self._news.look()
        del self._held[task]
        self._failures.ended(task, "run_segments")

    async def _hold(self, job: Job, held: Held, execution: Execution | None) -> None:
        """Run the job's segment, then end the job, if it is still this worker's."""
        try:
            done = await self._run(job, execution)
            if held.ended:
                return
            seconds = self._segments.retry_seconds(
                job.execution_id, min(2**job.attempts, _LONGEST_WAIT)
            )
            seconds = seconds if self._accepting else 0
            while self._worker == held.worker:
                if await self._put_back(job, held.worker, None if done else seconds):
                    return
        finally:
            self._jobs.release(job.execution_id, held)

    async def _put_back(self, job: Job, worker: int, seconds: float | None) -> bool:
        """End a job, or give it back for `seconds`; return False if that must be retried."""
        try:
            if seconds is None:
                await self._queue.finish(job, worker)
            else:
                await self._queue.give_back(job, worker, seconds)
                loop = asyncio.get_running_loop()
                loop.call_later(seconds + _DUE_SECONDS, self._news.look)
            if not self._accepting:
                await self._queue.nudge()
        except Exception as error:  # noqa: BLE001 - a job that is not ended would never be
            self._failures.record("queue_end_job", error)
            await pause(AWAY_SECONDS)
            return False
        return True

    async def _run(self, job: Job, execution: Execution | None) -> bool:
        """Run a segment; return False if another try is due."""
        if execution is None:
            await self._ending(job)
            try:
                execution = await self._segments.read(job.workspace_id, job.execution_id)
            except OutlastError:
                return False
            if execution is None:
                return True
        if not self._accepting or execution.id in self._segments:
            return False  # in there: a segment that was abandoned here and has not let go
        return await self._segments.run(self._segments.begin(execution))

    async def _ending(self, job: Job) -> None:
        """Wait for a segment of the execution whose end is committed to finish."""
        if job.execution_id in self._segments:
            this = asyncio.current_task()
            others = [t for t, j in self._held.items() if j.execution_id == job.execution_id]
            if others := [task for task in others if task is not this]:
                await asyncio.wait(others, timeout=CANCEL_AGAIN_SECONDS)

    async def _read_requests(self) -> None:
        """Cancel and pause executions by their rows, at once after a notification."""
        self._requested.clear()
        if self.running:
            requested = await self._store.executions.requested()
            for execution_id in requested.cancel:
                self._segments.cancel(execution_id)
            for found in requested.pause:
                if isinstance(found, Unreadable):
                    await self._segments.fail_unreadable(found)
                else:
                    self._segments.pause(*found)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REQUEST_SECONDS):
                await self._requested.wait()
