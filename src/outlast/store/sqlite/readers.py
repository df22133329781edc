"""Reader threads, each with a connection that is opened at the start.

At the limit of open files, or on a broken disk, reads fail with an error that says so.
"""

import asyncio
import sqlite3
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from threading import Timer
from typing import Final, TypeVar

from outlast.model.error import Overloaded
from outlast.store.driver import Transaction
from outlast.store.sqlite.connection import connect, connect_beside, run, undo
from outlast.store.sqlite.files import Files
from outlast.store.sqlite.refusal import is_lost, translated
from outlast.store.sqlite.texts import Texts

T = TypeVar("T")

_READERS: Final = 4
_CLOSE_SECONDS: Final = 5.0
_CLOSED: Final = "The database is closed."


class Readers:
    """Reads concurrently with the writer, each in a snapshot of its own."""

    def __init__(self, files: Files, texts: Texts) -> None:
        self._files = files
        self._texts = texts
        self._threads = ThreadPoolExecutor(_READERS, thread_name_prefix="sqlite-reader")
        self._light = ThreadPoolExecutor(1, thread_name_prefix="sqlite-light")
        """Threads for reads that must not wait behind heavy ones."""
        self._idle: deque[sqlite3.Connection | None] = deque()
        """Idle connections, one per thread; the last used is taken first. None: to be reopened."""
        self._busy: set[sqlite3.Connection] = set()
        self._closing = False

    def open(self) -> None:
        """Open the connections. Raises sqlite3.Error."""
        self._idle.append(_only_reads(connect(self._files.path)))
        for _ in range(_READERS):
            self._idle.appendleft(self._connect())

    async def read(self, transaction: Transaction[T], *, light: bool = False) -> T:
        """Run a transaction. Raises Overloaded, Refused, and what the transaction does."""
        if self._closing:
            raise Overloaded(_CLOSED)
        loop = asyncio.get_running_loop()
        threads = self._light if light else self._threads
        return await loop.run_in_executor(threads, self._read, transaction)

    def close(self) -> None:
        """Wait for running reads, interrupt them after a while, and close; blocks."""
        self._closing = True
        timer = Timer(_CLOSE_SECONDS, self._interrupt)
        timer.start()
        self._threads.shutdown()
        self._light.shutdown()
        timer.cancel()
        while self._idle:
            if (connection := self._idle.pop()) is not None:
                connection.close()

    def _read(self, transaction: Transaction[T]) -> T:
        if self._closing:
            raise Overloaded(_CLOSED)
        connection = self._idle.pop()
        try:
            if connection is None:
                connection = self._connect()
            self._busy.add(connection)
            connection.execute("BEGIN")
            try:
                return run(connection, self._texts, transaction).value
            finally:
                undo(connection)
        except Exception as error:
            if is_lost(error) and connection is not None:
                self._busy.discard(connection)
                connection.close()
                connection = None
            shown = translated(self._files.explained(error), "read")
            if shown is error:
                raise
            raise shown from error
        finally:
            if connection is not None:
                self._busy.discard(connection)
            self._idle.append(connection)

    def _interrupt(self) -> None:
        for connection in tuple(self._busy):
            connection.interrupt()

    def _connect(self) -> sqlite3.Connection:
        return _only_reads(connect_beside(self._files.path))


def _only_reads(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute("PRAGMA query_only=ON")
    return connection
