"""Names a full disk: SQLite has several errors for it, one of them a plain "disk I/O error"."""

import sqlite3
from typing import Final

_FULL: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_SHMSIZE})
"""No room for the file, or for the index of the WAL that each connection needs beside it."""


def is_full(error: BaseException) -> bool:
    """Whether the disk has no room for the database or what SQLite keeps beside it."""
    return getattr(error, "sqlite_errorcode", None) in _FULL


def reason_of(error: BaseException, disk: str = "its disk") -> str:
    """Return why SQLite failed, in one line without a full stop."""
    return f"{disk} is full, free some space" if is_full(error) else str(error)
