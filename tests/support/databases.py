"""Where a test's state lives: a SQLite file, or a database of its own on a real Postgres."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import psycopg

from outlast.app import Core
from outlast.model.execution import Execution
from outlast.store.driver import Driver, Query, TransactionResult
from outlast.store.migrations import migrate_sqlite
from outlast.store.sqlite import SqliteDriver
from outlast.testing import core_on
from tests.support import kept_connections, kinds
from tests.support.postgres import Databases, name_of

SQLITE, POSTGRESQL = kinds.SQLITE, kinds.POSTGRESQL
KINDS: Final = kinds.KINDS
Enqueue = Callable[[Execution], Query | None]
"""What a test writes for an execution that may run, where that is a table's matter."""


@dataclass(frozen=True, slots=True)
class Database:
    """An empty database that is this test's alone."""

    kind: str
    url: str
    folder: Path
    """For what a server keeps beside its database."""

    def core(self, **more: Any) -> AbstractAsyncContextManager[Core]:
        """A server without its HTTP side on this database, made by `core_on`."""
        return core_on(self.folder, database_url=self.url, **more)

    def driver(self, enqueue: Enqueue | None = None) -> Driver:
        """A driver of its own; `enqueue` writes what may run, where that is a table's matter."""
        if self.kind == SQLITE:
            return SqliteDriver(Path(self.url.removeprefix("sqlite:///")))
        from outlast.store.postgres.driver import PostgresDriver
        from outlast.store.postgres.run import JobChanges

        def changes(result: TransactionResult[Any], *, first: bool) -> JobChanges:
            del first
            queries = [] if enqueue is None else [enqueue(one) for one in result.runnable]
            return JobChanges(tuple(query for query in queries if query is not None))

        return PostgresDriver(self.url, enqueue=changes)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement beside the server; return its rows."""
        if self.kind == SQLITE:
            with closing(sqlite3.connect(self.url.removeprefix("sqlite:///"))) as file, file:
                return file.execute(statement).fetchall()
        with psycopg.connect(self.url) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def alter(self, statement: str) -> None:
        """Change what sessions begin with; from then on, each server has new ones."""
        self.rows(statement)
        kept_connections.end(name_of(self.url))


Another = Callable[[], Database]
"""Makes one more empty database of the kind."""


@contextmanager
def databases_of(kind: str, folder: Path, postgres: Callable[[], Databases]) -> Iterator[Another]:
    """`postgres` starts the server, where this kind needs one and it is not started yet."""
    with ExitStack() as stack:
        numbers = count(1)

        def sqlite() -> Database:
            file = folder / f"outlast{next(numbers)}.db"
            file.write_bytes(_opened_sqlite())
            return Database(kind, f"sqlite:///{file}", folder)

        def postgresql() -> Database:
            server = postgres()
            url = server.migrated(migrate_postgres)
            stack.callback(server.drop, url)
            return Database(kind, url, folder)

        yield sqlite if kind == SQLITE else postgresql


@cache
def _opened_sqlite() -> bytes:
    """The file that a server makes where there is none: to copy it is faster than to make it."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "outlast.db"
        migrate_sqlite(file)
        return file.read_bytes()


def migrate_postgres(url: str) -> None:
    """As a server leaves an empty database when it opens it."""
    from outlast.engine.dispatch.procrastinate.queue import Queue
    from outlast.store.postgres.migrate import migrate

    migrate(url)
    with ThreadPoolExecutor(1) as thread:  # a test's loop may be running in this one
        thread.submit(lambda: asyncio.run(Queue(url).prepare())).result()
