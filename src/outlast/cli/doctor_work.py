"""`outlast doctor` on the work in a Postgres database: workers, their jobs, the queue."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from outlast.agents.loader import LoadedAgents
from outlast.databases import driver_of, queue_of
from outlast.engine.dispatch.procrastinate.queue import Queue
from outlast.model.clock import Clock
from outlast.model.error import NotFound, OutlastError
from outlast.model.spec_json import spec_digest
from outlast.services.findings import FAIL, OK, WARN, Finding, executions
from outlast.services.workspaces import DEFAULT_WORKSPACE
from outlast.settings import Settings
from outlast.store.driver import Driver
from outlast.store.leases import Lease, Leases
from outlast.store.store import Store

_LONG_WAIT_SECONDS: Final = 10.0
_SETTLED_MILLIS: Final = 60_000
"""Age at which a worker has found an execution without a job, and added one."""
_SWEEPS: Final = 2.0
"""Takeover times after which a silent worker's jobs should have been reassigned."""
_PAGE: Final = 500
_JOBS: Final = "procrastinate_jobs"
_WORK: Final = "outlast worker --agents FILE, or outlast serve, which works too"


async def examine_work(
    settings: Settings, clock: Clock, loaded: LoadedAgents
) -> AsyncIterator[Finding]:
    """Yield the findings, one check after the other; the schema exists."""
    queue = queue_of(settings)
    try:
        driver = driver_of(settings, exclusive=False)
        async with queue.connected(), _opened(driver) as store:
            if missing := await queue.missing():
                yield _lacking(missing)
                return
            workers, waiting = await queue.workers(settings.takeover_seconds), await queue.waiting()
            yield _workers(workers, waiting)
            yield _leader(await Leases(driver).held())
            yield await _waiting(queue, workers, waiting)
            yield await _stalled(queue, settings.takeover_seconds, workers)
            yield await _forgotten(queue, store, clock.now)
            if loaded.specs:
                yield await _versions(store, loaded)
    except OutlastError as error:
        yield Finding("queue", FAIL, error.message, "see what Postgres's own log says of it")


@asynccontextmanager
async def _opened(driver: Driver) -> AsyncIterator[Store]:
    store = Store.over(driver)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def _lacking(missing: list[str]) -> Finding:
    if _JOBS in missing:
        return Finding("queue", FAIL, "the queue has no tables", "outlast migrate")
    text = f"the queue is of another version: it lacks {', '.join(missing)}"
    remedy = "apply the migrations that procrastinate's documentation names for its newer versions"
    return Finding("queue", FAIL, text, remedy)


def _workers(workers: int, waiting: int) -> Finding:
    if workers:
        return Finding("workers", OK, f"{workers} alive")
    if waiting:
        return Finding(
            "workers", FAIL, f"none is alive, and {executions(waiting, 'waits', 'wait')}", _WORK
        )
    return Finding("workers", WARN, "none is alive", _WORK)


def _leader(lease: Lease | None) -> Finding:
    if lease is None or lease.left <= 0:
        text = "no process leads: approvals do not expire and tasks that are due wait"
        return Finding("maintenance", WARN, text, "start a worker or a server; one of them leads")
    kind = "which runs executions" if lease.works else "which runs no executions"
    host, process, _ = lease.holder.rsplit(":", 2)
    return Finding("maintenance", OK, f"process {process} on {host} leads, {kind}")


async def _waiting(queue: Queue, workers: int, waiting: int) -> Finding:
    oldest = await queue.oldest()
    if oldest is None:
        return Finding("waiting", OK, "no execution waits for a worker")
    text = f"{executions(waiting, 'waits', 'wait')} for a worker, the next for {oldest:.0f} s"
    if oldest < _LONG_WAIT_SECONDS:
        return Finding("waiting", OK, text)
    remedy = "start more workers, or raise their --concurrency" if workers else _WORK
    return Finding("waiting", WARN, text, remedy)


async def _stalled(queue: Queue, takeover_seconds: float, workers: int) -> Finding:
    seconds = _SWEEPS * takeover_seconds
    stalled = await queue.stalled(seconds)
    if not stalled:
        return Finding("stuck", OK, "no execution is held by a silent worker")
    text = f"{executions(len(stalled), 'is', 'are')} held by a worker that has been silent for "
    text += f"{seconds:g} s, such as {stalled[0].execution_id}"
    remedy = "look for duty.failed in the workers' logs" if workers else _WORK
    return Finding("stuck", FAIL, text, remedy)


async def _forgotten(queue: Queue, store: Store, now: Callable[[], int]) -> Finding:
    found: set[str] = set()
    after, before = "", now() - _SETTLED_MILLIS
    while page := await store.executions.unfinished(after, _PAGE):
        after = page[-1].id
        settled = [execution.id for execution in page if execution.updated_at < before]
        found |= await queue.without_job(settled)
    if not found:
        return Finding("jobs", OK, "every execution that is to run has its job")
    text = f"{executions(len(found), 'waits', 'wait')} to run without a job, such as {min(found)}"
    remedy = "any worker gives them one within a minute; this is a bug in Outlast: report it"
    return Finding("jobs", FAIL, text, remedy)


async def _versions(store: Store, loaded: LoadedAgents) -> Finding:
    """Check whether this machine's agents file equals the servers'."""
    known = [await _digest(store, spec.name) for spec in loaded.specs]
    other = [
        spec.name
        for spec, digest in zip(loaded.specs, known, strict=True)
        if spec_digest(spec) != digest
    ]
    if not other:
        return Finding("versions", OK, "the agents of the file are those of the database")
    text = f"the agents file differs from the database in {', '.join(other)}"
    remedy = "give every server and worker the same file; a server's start makes the new versions"
    return Finding("versions", WARN, text, remedy)


async def _digest(store: Store, name: str) -> str | None:
    """Return the digest of an agent's newest version in the default workspace; None if unknown."""
    try:
        workspace = await store.workspaces.named(DEFAULT_WORKSPACE)
        return spec_digest((await store.agents.get(workspace.id, name)).spec)
    except NotFound:
        return None
