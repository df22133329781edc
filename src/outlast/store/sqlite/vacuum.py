"""Gives the space of deleted rows back to the file system.

SQLite reuses the pages of deleted rows, and never shortens the file by itself. `VACUUM` writes the
file anew; meanwhile it needs the space of the new one twice, and no other process can write.
"""

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from outlast.model.error import Misconfigured
from outlast.store.full_disk import reason_of
from outlast.store.sqlite.lock import FileLock


@dataclass(frozen=True, slots=True)
class Vacuumed:
    """Bytes of the database and its WAL, before and after."""

    before: int
    after: int


def vacuum(path: Path) -> Vacuumed:
    """Rewrite the file without unused pages, empty its WAL, and compact full-text indexes.

    Raises StoreLocked if a server uses it, Misconfigured if it cannot be done.
    """
    lock = FileLock(path)
    try:
        before = _size(path)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            for table in _full_text(connection):
                name = table.replace('"', '""')
                connection.execute(f'INSERT INTO "{name}"("{name}") VALUES (?)', ("optimize",))  # noqa: S608 - a quoted name
            connection.execute("VACUUM")
            connection.execute("PRAGMA optimize")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Vacuumed(before, _size(path))
    except sqlite3.Error as error:
        raise Misconfigured(
            f"The database {path} cannot be vacuumed: {reason_of(error)}."
        ) from error
    finally:
        lock.release()


def _full_text(connection: sqlite3.Connection) -> list[str]:
    """Return the full-text indexes: they keep words of deleted rows until they are compacted."""
    rows = connection.execute("SELECT name FROM sqlite_master WHERE sql LIKE '%USING fts5%'")
    return [name for (name,) in rows]


def _size(path: Path) -> int:
    files = (path, path.with_name(path.name + "-wal"))
    return sum(file.stat().st_size for file in files if file.exists())
