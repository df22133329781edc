"""The tables of a database as `fill` reads and writes them, without knowing what they are for."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
from psycopg.types.string import TextLoader

Values = tuple[Any, ...]


class Tables(Protocol):
    """One database."""

    def select(self, table: str, column: str, value: str) -> tuple[list[str], list[Values]]:
        """The names of the columns, and the rows in which this column has the value."""

    def owned(self) -> list[str]:
        """The tables with a column `execution_id`."""

    def insert(self, rows: dict[str, tuple[list[str], Iterable[Values]]]) -> None:
        """By table, names and rows; all at once."""


class SqliteTables:
    """A file that no server has."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def select(self, table: str, column: str, value: str) -> tuple[list[str], list[Values]]:
        cursor = self._database.execute(f"SELECT * FROM {table} WHERE {column} = ?", (value,))
        return [description[0] for description in cursor.description], cursor.fetchall()

    def owned(self) -> list[str]:
        found = self._database.execute(
            "SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c"
            " WHERE m.type = 'table' AND c.name = 'execution_id' ORDER BY m.name"
        ).fetchall()
        return [table for (table,) in found]

    def insert(self, rows: dict[str, tuple[list[str], Iterable[Values]]]) -> None:
        self._database.execute("BEGIN")
        for table, (names, values) in rows.items():
            holes = ",".join("?" * len(names))
            statement = f"INSERT INTO {table} ({','.join(names)}) VALUES ({holes})"
            self._database.executemany(statement, values)
        self._database.execute("COMMIT")


class PostgresTables:
    """A database without other writers."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def select(self, table: str, column: str, value: str) -> tuple[list[str], list[Values]]:
        statement = f"SELECT * FROM {table} WHERE {column} = %s"
        cursor = self._connection.execute(statement.encode(), (value,))
        assert cursor.description is not None
        return [description.name for description in cursor.description], cursor.fetchall()

    def owned(self) -> list[str]:
        found = self._connection.execute(
            "SELECT table_name FROM information_schema.columns"
            " WHERE table_schema = current_schema() AND column_name = 'execution_id' ORDER BY 1"
        ).fetchall()
        return [table for (table,) in found]

    def insert(self, rows: dict[str, tuple[list[str], Iterable[Values]]]) -> None:
        with self._connection.transaction(), self._connection.cursor() as cursor:
            for table, (names, values) in rows.items():
                statement = f"COPY {table} ({','.join(names)}) FROM STDIN"
                with cursor.copy(statement.encode()) as copy:
                    for row in values:
                        copy.write_row(row)


@contextmanager
def sqlite_tables(path: Path) -> Iterator[Tables]:
    """The file's; it is whole at the end."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA synchronous=OFF")
        yield SqliteTables(database)
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def postgres_tables(url: str) -> Iterator[Tables]:
    """The database's; at the end its planner knows what is in it, as it would after a while."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.adapters.register_loader("jsonb", TextLoader)
        yield PostgresTables(connection)
        connection.execute("VACUUM ANALYZE")
