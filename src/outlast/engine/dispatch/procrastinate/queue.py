"""The queue in Postgres: the only importer of procrastinate.

The changes made by commits of executions are in `jobs`.

A job is a runnable execution; its lock is the execution's id, so that one worker at a time has it.
Jobs of a silent worker are replaced by new jobs: if that worker wakes up, it can end only its own
old ones.
"""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import ConnectorException, ProcrastinateException
from procrastinate.jobs import Job as QueueJob
from procrastinate.jobs import Status as JobStatus
from procrastinate.manager import get_channel_for_queues
from procrastinate.sql import queries
from psycopg_pool import PoolTimeout

from outlast.model.error import Overloaded
from outlast.store.postgres.driver import make_pool
from outlast.store.postgres.jobs import BEGUN, QUEUE, TASK, arguments_of

(CHANNEL,) = get_channel_for_queues([QUEUE])
"""Where workers are notified of jobs."""
_CONNECTIONS: Final = 4
_OLD_HOURS: Final = 24
_RAISED: Final = "P0001"
"""SQLSTATE of RAISE in PL/pgSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html"""

_BEAT: Final = """
UPDATE procrastinate_workers SET last_heartbeat = now() WHERE id = %(worker)s RETURNING id
"""
_END: Final = """
DELETE FROM procrastinate_jobs
WHERE lock = %(execution)s AND worker_id = %(worker)s AND status = 'doing' RETURNING id
"""
_HAVE_JOBS: Final = """
SELECT DISTINCT lock FROM procrastinate_jobs
WHERE lock = ANY(%(ids)s) AND status IN ('todo', 'doing')
"""
_NUDGE: Final = """
SELECT pg_notify(%(channel)s, '{"type": "job_inserted", "job_id": 0}')::text AS sent
"""
_IN_SECONDS: Final = "SELECT now() + make_interval(secs => %(seconds)s) AS at"
_WAITING: Final = "SELECT count(*) AS waiting FROM procrastinate_jobs WHERE status = 'todo'"
_COUNTS: Final = """
SELECT count(*) AS waiting, EXISTS (
    SELECT FROM procrastinate_jobs AS due
    WHERE status = 'todo' AND queue_name = %(queue)s
        AND (scheduled_at IS NULL OR scheduled_at <= now()) AND NOT EXISTS (
            SELECT FROM procrastinate_jobs WHERE lock = due.lock AND status = 'doing'
        )
) AS overlooked
FROM procrastinate_jobs WHERE status = 'todo'
"""
_WORKERS: Final = """
SELECT count(*) AS alive FROM procrastinate_workers
WHERE last_heartbeat > now() - make_interval(secs => %(seconds)s)
"""
_OLDEST: Final = """
SELECT extract(epoch FROM now() - greatest(job.scheduled_at, max(event.at)))::float8 AS seconds
FROM (
    SELECT id, scheduled_at FROM procrastinate_jobs AS waiting
    WHERE status = 'todo' AND (scheduled_at IS NULL OR scheduled_at <= now()) AND NOT EXISTS (
        SELECT FROM procrastinate_jobs WHERE lock = waiting.lock AND status = 'doing'
    )
    ORDER BY priority DESC, id LIMIT 1
) AS job JOIN procrastinate_events AS event ON event.job_id = job.id
GROUP BY job.id, job.scheduled_at
"""
_MISSING: Final = """
SELECT name FROM unnest(%(names)s::text[]) AS name
WHERE to_regclass(name) IS NULL AND to_regtype(name) IS NULL
    AND NOT EXISTS (SELECT FROM pg_proc WHERE proname = name)
"""
_NAMES: Final = sorted(set(re.findall(r"\bprocrastinate_\w+", " ".join(queries.values()))))
"""Names in the database that the library's statements use."""


@dataclass(frozen=True, slots=True)
class Job:
    """One turn of an execution to run."""

    workspace_id: str
    execution_id: str
    attempts: int = 0
    """How often it was given back."""
    of: QueueJob | None = None
    """The library's job; None if a commit gave it to this worker."""


class Queue:
    """The queue of jobs, in the database of the executions."""

    def __init__(self, url: str) -> None:
        """`url` must keep its session: workers listen on it."""
        self._url = url
        self._pool = make_pool(url, _CONNECTIONS, _configure)
        self._app = App(connector=PsycopgConnector())
        self._jobs = self._app.job_manager

    async def prepare(self) -> None:
        """Create the queue's tables if missing. Raises Overloaded."""
        async with self.prepared():
            pass

    @asynccontextmanager
    async def prepared(self) -> AsyncIterator[None]:
        """Open the connections and create the queue's tables if missing. Raises Overloaded."""
        async with self.connected():
            with _translated():
                await self._create_tables()
            yield

    async def _create_tables(self) -> None:
        if await self._jobs.check_connection_async():
            return
        try:
            await self._app.schema_manager.apply_schema_async()
        except ProcrastinateException:
            if not await self._jobs.check_connection_async():  # else another was quicker
                raise

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Open the connections. Raises Overloaded."""
        self._pool = make_pool(self._url, _CONNECTIONS, _configure)
        self._app = App(connector=PsycopgConnector())
        self._jobs = self._app.job_manager
        async with self._pool as pool:
            try:
                await pool.wait(pool.timeout)  # a caller before the first would open a second
            except PoolTimeout as error:
                raise Overloaded("The queue cannot be reached.") from error
            await self._app.open_async(pool)
            yield

    async def repair(self) -> None:
        """Replace every connection: if one has died, the others may have."""
        await self._pool.drain()

    # --- what a worker does

    async def enter(self) -> int:
        """Register as a worker; return its number."""
        with _translated():
            return await self._jobs.register_worker()

    async def leave(self, worker: int) -> None:
        """Unregister the worker; its jobs are replaced by new ones."""
        with _translated():
            await self._jobs.unregister_worker(worker)

    async def beat(self, worker: int) -> bool:
        """Send a heartbeat; return False if the database no longer knows the worker."""
        return bool(await self._rows(_BEAT, worker=worker))

    async def fetch(self, worker: int) -> Job | None:
        """Take the oldest job whose execution no worker has; None if there is none."""
        with _translated():
            found = await self._jobs.fetch_job(queues=[QUEUE], worker_id=worker)
        return None if found is None else _job(found)

    async def held(self, worker: int) -> list[Job]:
        """Return the worker's jobs according to the database."""
        with _translated():
            return [_job(job) for job in await self._held(worker)]

    async def _held(self, worker: int, execution_id: str | None = None) -> list[QueueJob]:
        return list(
            await self._jobs.list_jobs_async(
                worker_id=worker, status=JobStatus.DOING.value, lock=execution_id
            )
        )

    async def finish(self, job: Job, worker: int) -> None:
        """Delete a finished job; one that was replaced is gone already."""
        if job.of is None:
            await self._rows(_END, execution=job.execution_id, worker=worker)
        else:
            await self._finish(job.of)

    async def _finish(self, job: QueueJob) -> None:
        assert job.id is not None
        with _translated(), _gone_is_fine():
            await self._jobs.finish_job_by_id_async(job.id, JobStatus.SUCCEEDED, delete_job=True)

    async def give_back(self, job: Job, worker: int, seconds: float) -> None:
        """Return the job to the queue, due after `seconds` of the database's clock."""
        at: datetime = (await self._rows(_IN_SECONDS, seconds=seconds))[0]["at"]
        with _translated(), _gone_is_fine():
            for known in [job.of] if job.of else await self._held(worker, job.execution_id):
                await self._jobs.retry_job(known, retry_at=at)

    async def nudge(self) -> None:
        """Notify workers again: a job that was locked at its notification is free now."""
        await self._rows(_NUDGE, channel=CHANNEL)

    # --- what workers do for each other

    async def stalled(self, seconds: float) -> list[Job]:
        """Return jobs of workers that have been silent for `seconds`, or have left."""
        with _translated():
            found = await self._jobs.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=seconds)
        return [_job(job) for job in found]

    async def give_out_anew(self, job: Job) -> None:
        """Replace a stalled job, found by `stalled`, by a new one."""
        assert job.of is not None
        with _translated():
            await self._jobs.defer_job_async(job.of.evolve(scheduled_at=None, priority=BEGUN))
        await self._finish(job.of)

    async def add(self, workspace_id: str, execution_id: str) -> None:
        """Add a job in a transaction of its own."""
        deferrer = self._app.configure_task(TASK, queue=QUEUE, lock=execution_id)
        with _translated():
            await deferrer.defer_async(**arguments_of(workspace_id, execution_id))

    async def without_job(self, ids: Sequence[str]) -> set[str]:
        """Return those of the executions that have no job."""
        rows = await self._rows(_HAVE_JOBS, ids=list(ids))
        return set(ids) - {row["lock"] for row in rows}

    async def waiting(self) -> int:
        """Return how many jobs wait for a worker."""
        return int((await self._rows(_WAITING))[0]["waiting"])

    async def counts(self) -> tuple[int, bool]:
        """Return how many jobs wait, and whether one of them could be taken now."""
        (row,) = await self._rows(_COUNTS, queue=QUEUE)
        return int(row["waiting"]), bool(row["overlooked"])

    async def oldest(self) -> float | None:
        """Return the seconds that the next job has waited; None if no job is due."""
        rows = await self._rows(_OLDEST)
        return float(rows[0]["seconds"]) if rows else None

    async def missing(self) -> list[str]:
        """Return tables, types and functions that the queue needs and the database lacks."""
        return [str(row["name"]) for row in await self._rows(_MISSING, names=_NAMES)]

    async def workers(self, seconds: float) -> int:
        """Return how many workers sent a heartbeat within `seconds`."""
        return int((await self._rows(_WORKERS, seconds=seconds))[0]["alive"])

    async def clean_up(self, seconds: float) -> None:
        """Delete jobs that ended without being deleted and workers that are long gone."""
        with _translated():
            await self._jobs.delete_old_jobs(
                _OLD_HOURS, include_failed=True, include_cancelled=True, include_aborted=True
            )
            await self._jobs.prune_stalled_workers(seconds)

    async def analyze(self) -> None:
        """Update the planner's statistics; else it would read the whole queue for every job."""
        with _translated():
            await self._app.connector.execute_query_async("ANALYZE procrastinate_jobs")

    async def _rows(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        with _translated():
            return await self._app.connector.execute_query_all_async(query, **arguments)


def is_of_new_job(payload: str) -> bool:
    """Return whether a notification is of one job that was added; else any may be free now."""
    return bool(orjson.loads(payload).get("job_id"))


def _job(found: QueueJob) -> Job:
    arguments = found.task_kwargs
    return Job(str(arguments["workspace"]), str(arguments["execution"]), found.attempts, found)


async def _configure(connection: Any) -> None:
    """Do not wait for the disk: a fetch lost in a power cut is repeated; nothing runs twice.

    Only jobs are written here: those added with an execution's commit are on disk.
    """
    await connection.set_autocommit(True)
    await connection.execute("SET synchronous_commit TO OFF")
    await connection.execute("SET default_transaction_isolation TO 'read committed'")


@contextmanager
def _gone_is_fine() -> Iterator[None]:
    """Ignore that another worker has ended the job: the database's functions raise for that."""
    try:
        yield
    except ConnectorException as error:
        if getattr(error.__cause__, "sqlstate", None) != _RAISED:
            raise


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ProcrastinateException as error:
        raise Overloaded("The queue cannot be reached.") from error
