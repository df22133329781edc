"""Removes deleted content from the disk too: the WAL is copied into the database and emptied.

It cannot be emptied while a reader, such as a backup, still reads from it. The writer does not wait
but retries later; it also tries once at the start, for content left by an earlier process.
"""

import sqlite3
from typing import Final

import structlog

from outlast.store.sqlite.connection import wait_at_most

_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 5.0

logger = structlog.get_logger(__name__)


class Erasure:
    """When the WAL is to be emptied, and the attempts at it."""

    def __init__(self) -> None:
        self.due: float | None = 0.0
        """Time of the next attempt; None if nothing is left to erase."""
        self._delay = _FIRST_DELAY

    def request(self, now: float) -> None:
        """Schedule an attempt at once: content was deleted."""
        self.due, self._delay = now, _FIRST_DELAY

    def seconds_left(self, now: float) -> float | None:
        """Return seconds until the next attempt; None if nothing is left to erase."""
        return None if self.due is None else max(0.0, self.due - now)

    def attempt(self, connection: sqlite3.Connection, now: float, patience: float) -> None:
        """Empty the WAL if an attempt is due; `patience` is the connection's usual wait."""
        if self.due is None or self.due > now:
            return
        if self._empty(connection, patience):
            self.due = None
        else:
            self.due = now + self._delay
            self._delay = min(2 * self._delay, _LONGEST_DELAY)

    def _empty(self, connection: sqlite3.Connection, patience: float) -> bool:
        """Empty the WAL; return False if a reader or the disk prevents it."""
        try:
            wait_at_most(connection, 0)
            try:
                # https://sqlite.org/pragma.html#pragma_wal_checkpoint
                busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                wait_at_most(connection, patience)
        except sqlite3.Error as error:
            logger.warning("database.not_erased", error=str(error))
            return False
        return not busy
