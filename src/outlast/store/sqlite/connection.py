"""One connection to the file, and how a transaction runs on it."""

import sqlite3
from pathlib import Path
from typing import Any, Final, TypeVar

from outlast.store.driver import (
    Batch,
    Guarded,
    Query,
    Row,
    Together,
    Transaction,
    TransactionResult,
)
from outlast.store.sqlite.texts import Compiled, Texts

T = TypeVar("T")

BUSY_SECONDS: Final = 10
"""How long a statement waits if another process has the file locked."""


_NONE: Final = dict[None, None]().get
"""Returns what SQLite stores of None: the module looks for an adapter of it all the same, which
costs several times as much as this one, for every such value; of a bool too."""
_ALWAYS: Final = (
    "PRAGMA foreign_keys=ON",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA secure_delete=ON",
)


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection, with the file and its WAL open. Raises sqlite3.Error."""
    return _connected(path, "PRAGMA journal_mode=WAL", "SELECT 1 FROM sqlite_master LIMIT 1")


def connect_beside(path: Path) -> sqlite3.Connection:
    """Open one more beside another connection, with the file and its WAL open.

    It reads the schema when it is first used: that takes ten times as long as to open it, and
    memory. Raises sqlite3.Error.
    """
    return _connected(path, "PRAGMA user_version")


def _connected(path: Path, *statements: str) -> sqlite3.Connection:
    """Open a connection and run statements, the last of which opens the files."""
    sqlite3.register_adapter(type(None), _NONE)
    sqlite3.register_adapter(bool, int)
    connection = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    try:
        for statement in (*_ALWAYS, *statements):
            connection.execute(statement).fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def wait_at_most(connection: sqlite3.Connection, seconds: float) -> None:
    """Set how long statements wait if another process has the file locked."""
    connection.execute(f"PRAGMA busy_timeout={int(seconds * 1000)}")


def run(
    connection: sqlite3.Connection, texts: Texts, transaction: Transaction[T]
) -> TransactionResult[T]:
    """Run a transaction inside the open one of the database."""
    cursor, of = connection.cursor(), texts.of
    try:
        request = next(transaction)
        while True:
            if isinstance(request, Query):
                rows = _execute(cursor, of(request[0]), request[1])
            elif isinstance(request, Together):
                rows = []
                for one in request.queries:
                    if isinstance(one, Query):
                        found = _execute(cursor, of(one[0]), one[1])
                    else:
                        found = _execute_all(cursor, of(one.statement), one)
                    rows.append(tuple(found))
            elif isinstance(request, Guarded):
                rows = _execute(cursor, of(request.first[0]), request.first[1])
                if rows:
                    statement, parameters = request.second(rows[0])
                    _execute(cursor, of(statement), parameters)
            else:
                rows = _execute_all(cursor, of(request.statement), request)
            request = transaction.send(rows)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        transaction.close()
        cursor.close()


def _execute(cursor: sqlite3.Cursor, compiled: Compiled, parameters: dict[str, Any]) -> list[Row]:
    text, constants, in_order, answers, then = compiled
    cursor.execute(text, in_order({**constants, **parameters} if constants else parameters))
    if not answers:
        return []
    rows = cursor.fetchall()
    if rows and then is not None:
        _execute(cursor, then, parameters)
    return rows


def _execute_all(cursor: sqlite3.Cursor, compiled: Compiled, batch: Batch) -> list[Row]:
    rows: list[Row] = []
    for one in batch.parameters:
        rows += _execute(cursor, compiled, one)
    return rows


def undo(connection: sqlite3.Connection) -> None:
    """Roll back, unless SQLite has done so itself."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")
