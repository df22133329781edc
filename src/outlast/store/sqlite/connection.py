"""One connection to the file, and how a transaction runs on it."""

import sqlite3
from pathlib import Path
from typing import Any, Final, TypeVar

from outlast.store.driver import (
    Batch,
    Guarded,
    Query,
    Row,
    Statement,
    Together,
    Transaction,
    TransactionResult,
)
from outlast.store.sqlite.texts import Texts

T = TypeVar("T")

BUSY_SECONDS: Final = 10
"""How long a statement waits if another process has the file locked."""


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection, with the file and its WAL open. Raises sqlite3.Error."""
    sqlite3.register_adapter(type(None), _none)
    sqlite3.register_adapter(bool, int)
    connection = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _none(_: None) -> None:
    """Return what SQLite stores of None: the module looks for an adapter of it all the same.

    That search costs three times as much as this adapter, for every such value; of a bool too.
    """


def wait_at_most(connection: sqlite3.Connection, seconds: float) -> None:
    """Set how long statements wait if another process has the file locked."""
    connection.execute(f"PRAGMA busy_timeout={int(seconds * 1000)}")


def run(
    connection: sqlite3.Connection, texts: Texts, transaction: Transaction[T]
) -> TransactionResult[T]:
    """Run a transaction inside the open one of the database."""
    cursor, of = connection.cursor(), texts.of
    send, fetch = cursor.execute, cursor.fetchall

    def execute(statement: Statement, parameters: dict[str, Any]) -> list[Row]:
        text, constants, in_order, answers, then = of(statement)
        values = in_order({**constants, **parameters} if constants else parameters)
        send(text, values)
        rows = fetch() if answers else []
        if rows and then is not None:
            execute(then, parameters)
        return rows

    def execute_all(batch: Batch) -> list[Row]:
        many = (execute(batch.statement, one) for one in batch.parameters)
        return [row for found in many for row in found]

    try:
        request = next(transaction)
        while True:
            if isinstance(request, Query):
                rows = execute(*request)
            elif isinstance(request, Together):
                rows = [
                    tuple(execute(*one)) if isinstance(one, Query) else tuple(execute_all(one))
                    for one in request.queries
                ]
            elif isinstance(request, Guarded):
                rows = execute(*request.first)
                if rows:
                    execute(*request.second(rows[0]))
            else:
                rows = execute_all(request)
            request = transaction.send(rows)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        transaction.close()
        cursor.close()


def undo(connection: sqlite3.Connection) -> None:
    """Roll back, unless SQLite has done so itself."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
