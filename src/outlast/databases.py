"""The parts that the database in the settings decides: its driver, and the queue of Postgres."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from outlast.duty import Failures
from outlast.model.error import Misconfigured
from outlast.model.extra import install
from outlast.settings import Settings
from outlast.store.driver import Driver
from outlast.store.sqlite import SqliteDriver

if TYPE_CHECKING:
    from outlast.engine.dispatch.procrastinate.jobs import Jobs
    from outlast.engine.dispatch.procrastinate.queue import Queue


def driver_of(
    settings: Settings,
    *,
    exclusive: bool = True,
    measured: Callable[[float, int], None] | None = None,
    failures: Failures | None = None,
    jobs: "Jobs | None" = None,
) -> Driver:
    """Return the driver of the database in the settings; nothing is opened yet.

    `exclusive`, for SQLite: this is the single process that runs executions on the file. Raises
    Misconfigured.
    """
    if not settings.on_postgres:
        return SqliteDriver(settings.database_path, exclusive=exclusive, measured=measured)
    jobs = jobs or jobs_of(settings)
    assert jobs is not None
    from outlast.store.postgres.driver import PostgresDriver

    driver = PostgresDriver(
        settings.database_url,
        pool_size=settings.database_connections,
        enqueue=jobs.enqueue,
        listen_url=settings.database_direct_url,
        measured=measured,
        failures=failures,
    )
    jobs.processes = lambda: driver.peers.processes
    jobs.receive = driver.receive
    return driver


def jobs_of(settings: Settings) -> "Jobs | None":
    """Return the changes of the queue in commits, on Postgres. Raises Misconfigured."""
    if not settings.on_postgres:
        return None
    try:
        from outlast.engine.dispatch.procrastinate.jobs import Jobs
    except ImportError as error:
        raise _no_postgres() from error
    return Jobs()


def queue_of(settings: Settings) -> "Queue":
    """Return the queue in the Postgres database of the settings. Raises Misconfigured."""
    try:
        from outlast.engine.dispatch.procrastinate.queue import Queue
    except ImportError as error:
        raise _no_postgres() from error
    return Queue(settings.database_direct_url or settings.database_url)


def _no_postgres() -> Misconfigured:
    return Misconfigured(f"Postgres needs an extra: {install('postgres')}")
