"""Where servers under test keep their state: a SQLite file, or a database on the bench's Postgres.

That Postgres is a server of the bench's own, on the disk, with the settings that Postgres comes
with: what it has confirmed survives a power cut. `OUTLAST_TEST_POSTGRES_URL` names another server
to use instead, whose processor time the bench then does not see.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from tests.support.postgres import Cluster, Databases
from tests.support.statement_log import LOGGED

from bench.process import cpu_seconds

SQLITE, POSTGRESQL = "sqlite", "postgresql"
KINDS: Final = (SQLITE, POSTGRESQL)
LABELS: Final = {SQLITE: "SQLite", POSTGRESQL: "Postgres"}
_TABLES: Final = """
SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""
_DURABLE: Final = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "wal_level": "replica",
    "max_wal_senders": "10",
    "max_wal_size": "1GB",
    "max_connections": "500",
    "track_commit_timestamp": "on",
    **LOGGED,
}
"""What Postgres comes with, but for the last three: many workers at rest have more than its hundred
connections, and some figures read when a commit was made, or which statements there were."""


@dataclass(frozen=True, slots=True)
class State:
    """What one server, or the processes that share a database, find when they start."""

    kind: str
    folder: Path
    url: str = ""
    """The Postgres database; SQLite's file is in the folder."""

    @property
    def label(self) -> str:
        """The database in the table."""
        return LABELS[self.kind]

    @property
    def file(self) -> Path:
        """The SQLite file."""
        return self.folder / "outlast.db"

    def env(self, name: str) -> dict[str, str]:
        """Settings of a process that Postgres shall know by this name."""
        found = {"OUTLAST_DATA_DIR": str(self.folder)}
        if self.url:
            mark = "&" if "?" in self.url else "?"
            found["OUTLAST_DATABASE_URL"] = f"{self.url}{mark}application_name={name}"
        return found

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement beside the server, and what it answers."""
        if self.kind == SQLITE:
            with closing(sqlite3.connect(self.file)) as file, file:
                return file.execute(statement, values).fetchall()
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def many(self, statements: Iterable[str]) -> None:
        """Run statements beside the server, in one transaction."""
        if self.kind == SQLITE:
            with closing(sqlite3.connect(self.file)) as file, file:
                for statement in statements:
                    file.execute(statement)
            return
        with psycopg.connect(self.url) as connection, connection.pipeline():
            for statement in statements:
                connection.execute(statement.encode())

    def used(self) -> int:
        """Bytes of the pages in use, or of tables with their indexes."""
        if self.kind != SQLITE:
            return int(self.rows(_TABLES)[0][0])
        pages, size, free = (
            self.rows(f"PRAGMA {name}")[0][0]
            for name in ("page_count", "page_size", "freelist_count")
        )
        return int((pages - free) * size)

    def cleaned(self) -> int:
        """Bytes without what cannot be read any more."""
        if self.kind != SQLITE:
            self.rows("VACUUM FULL")
        return self.used()


class Postgres:
    """The server that figures on Postgres share; each has databases of its own."""

    def __init__(self, databases: Databases, url: str, cluster: Cluster | None) -> None:
        """`url` is that of a database on it; `cluster` is None where the server is given."""
        self.databases = databases
        self._url = url
        self._pid = None if cluster is None else cluster.pid
        self.log = None if cluster is None else cluster.log
        """Where it writes its log; None where the bench cannot see it."""

    @contextmanager
    def logged(self) -> Iterator[None]:
        """Every statement is in the log meanwhile."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            try:
                connection.execute("ALTER SYSTEM SET log_statement TO 'all'")
                _reload(connection, "all")
                yield
            finally:
                connection.execute("ALTER SYSTEM RESET log_statement")
                _reload(connection, "none")

    def cpu_seconds(self) -> float:
        """Processor time of the whole server so far; 0 where the bench cannot see it."""
        return 0.0 if self._pid is None else cpu_seconds(self._pid)


def _reload(connection: psycopg.Connection[Any], expected: str) -> None:
    """Let the server read its settings, and wait until it has."""
    connection.execute("SELECT pg_reload_conf()")
    deadline = time.monotonic() + 10
    while connection.execute("SHOW log_statement").fetchone() != (expected,):
        if time.monotonic() > deadline:
            raise TimeoutError("Postgres does not read its settings.")
        time.sleep(0.01)


@contextmanager
def open_postgres(room: Path) -> Iterator[Postgres]:
    """A server in this folder; removed at the end."""
    if given := os.environ.get("OUTLAST_TEST_POSTGRES_URL"):
        with closing(Databases(given)) as databases:
            yield Postgres(databases, given, None)
        return
    room.chmod(0o711)  # Postgres may run as another user, who must reach its folder
    with Cluster(room, **_DURABLE) as cluster, closing(Databases(cluster.url())) as databases:
        yield Postgres(databases, cluster.url(), cluster)


class States:
    """Makes empty states in one room, copies and drops them."""

    def __init__(self, room: Path, postgres: Postgres | None) -> None:
        """Without a Postgres there are states of SQLite only."""
        self._room = room
        self._postgres = postgres

    def empty(self, kind: str, name: str) -> State:
        """A new state; one of the same name is gone then."""
        folder = self.folder(f"{name}-{kind}")
        if kind == SQLITE:
            return State(kind, folder)
        return State(kind, folder, self._databases.empty())

    def copy(self, state: State, name: str) -> State:
        """A copy of a state that is not in use."""
        folder = self.folder(f"{name}-{state.kind}")
        shutil.copytree(state.folder, folder, dirs_exist_ok=True)
        url = self._databases.copy(state.url) if state.url else ""
        return State(state.kind, folder, url)

    def drop(self, *states: State) -> None:
        """Give the disk back."""
        for state in states:
            shutil.rmtree(state.folder, ignore_errors=True)
            if state.url:
                self._databases.drop(state.url)

    def folder(self, name: str) -> Path:
        """An empty folder."""
        path = self._room / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    @property
    def _databases(self) -> Databases:
        if self._postgres is None:
            raise RuntimeError("This run has no Postgres.")
        return self._postgres.databases
