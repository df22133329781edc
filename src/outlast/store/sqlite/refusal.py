"""Classifies errors of SQLite: the file or disk is unavailable for now, or the statement is wrong.

https://sqlite.org/rescode.html
"""

import sqlite3
from typing import Final

import structlog

from outlast.model.error import OutlastError, Overloaded, Refused

_BUSY: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_LOST: Final = _DAMAGED | {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
_AWAY: Final = _BUSY | _LOST | {sqlite3.SQLITE_FULL, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_PERM}

logger = structlog.get_logger(__name__)


def is_away(error: BaseException) -> bool:
    """Whether the file, the disk or memory failed: the same statement may succeed later."""
    return _code(error) in _AWAY or isinstance(error, MemoryError)


def is_busy(error: BaseException) -> bool:
    """Whether another process has the file locked."""
    return _code(error) in _BUSY


def is_damage(error: BaseException) -> bool:
    """Whether the file's content is damaged."""
    return _code(error) in _DAMAGED


def is_unknown(error: BaseException) -> bool:
    """Whether a statement does not fit the schema, or is wrong."""
    return _code(error) == sqlite3.SQLITE_ERROR


def is_lost(error: BaseException) -> bool:
    """Whether a new connection may work after this error."""
    return _code(error) in _LOST


def translated(error: Exception, verb: str = "written") -> Exception:
    """Return the error of the store's port; errors not of the database are returned unchanged.

    Overloaded if a retry may help, Refused if not: a constraint, a limit, a value that SQLite
    cannot hold.
    """
    shown: OutlastError
    if is_away(error):
        shown = Overloaded(f"The database could not be {verb}: {_text(error)}.")
    elif isinstance(error, (sqlite3.Error, OverflowError, UnicodeError)):
        shown = Refused(f"The database refused this: {_text(error)}.")
        logger.error("database.refused", error=_text(error))
    else:
        return error
    shown.__cause__ = error
    return shown


def _text(error: Exception) -> str:
    """Return the error's message; a general one if Python's quotes content of the row."""
    if isinstance(error, MemoryError):
        return "out of memory"
    if isinstance(error, sqlite3.OperationalError) and _code(error) is None:
        return "a row cannot be read"
    return str(error)


def _code(error: BaseException) -> int | None:
    """Return the primary result code; None for errors of Python's module."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
