"""The writer thread: it commits all waiting transactions together.

    queue ──► BEGIN, every transaction that waits, COMMIT ──► deliver

A failed transaction does not affect the others. If the file or the disk fails, the whole batch
fails after one wait, and the next batch tries again. The thread survives every error of SQLite;
should it end all the same, waiting and later writes get an error.
"""

import sqlite3
import threading
from asyncio import Future
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeGuard

import structlog

from outlast.model.error import Overloaded
from outlast.store.driver import Transaction, TransactionResult, ping
from outlast.store.idempotency import try_write
from outlast.store.sqlite.connection import BUSY_SECONDS, connect, run, undo, wait_at_most
from outlast.store.sqlite.erasure import Erasure
from outlast.store.sqlite.files import Files
from outlast.store.sqlite.refusal import is_away, is_busy, is_lost, translated
from outlast.store.sqlite.texts import Texts

_BATCH: Final = 512
"""A commit takes no more once it has so many transactions, which bounds the wait of the first."""
_BUSY_AGAIN_SECONDS: Final = 1
"""How long a batch waits for a file that the previous batch found locked."""
_ENDED: Final = "The database's writer has stopped; the server must be started again."

logger = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class Write:
    """A transaction and its result; `future` is what its caller awaits."""

    transaction: Callable[[], Transaction[Any]]
    durable: bool
    future: Future[Any]
    outcome: TransactionResult[Any] | None = None
    error: Exception | None = None


_IS_DURABLE: Final = attrgetter("durable")


class Writer:
    """One thread with one connection."""

    def __init__(
        self,
        files: Files,
        texts: Texts,
        *,
        now: Callable[[], float],
        deliver: Callable[[list[Write]], None],
        measured: Callable[[float, int], None] | None,
    ) -> None:
        """`deliver` gets finished writes, in any thread; `measured` gets a commit's figures."""
        self._files = files
        self._texts = texts
        self._now = now
        self._deliver = deliver
        self._measured = measured
        self._queue: SimpleQueue[list[Write] | None] = SimpleQueue()
        self._batch: list[Write] = []
        self._erasure = Erasure()
        self._connection: sqlite3.Connection | None = None
        self._synchronous = ""
        self._patience: float = BUSY_SECONDS
        self._failing = False
        """Whether the last commit with changes failed, as on a full disk."""
        self._stopping = False
        self._ended = False
        self._thread = threading.Thread(target=self._main, name="sqlite-writer", daemon=True)

    def start(self) -> None:
        """Connect and begin. Raises sqlite3.Error."""
        self._connection = connect(self._files.path)
        self._thread.start()

    def put(self, writes: list[Write]) -> None:
        """Enqueue transactions for one commit; they fail if the thread has ended."""
        self._queue.put(writes)
        if self._ended:  # it may have missed these
            self.abandon(_ENDED)

    def stop(self) -> None:
        """Commit waiting transactions, then end the thread."""
        self._queue.put(None)

    def join(self, seconds: float) -> bool:
        """Wait for the thread's end; return False if it has not ended by then."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def abandon(self, why: str) -> None:
        """Fail all waiting writes."""
        waiting, self._batch = self._batch, []
        while True:
            try:
                waiting += self._queue.get_nowait() or ()
            except Empty:
                break
        for write in waiting:
            write.outcome, write.error = None, Overloaded(why)
        self._deliver(waiting)

    def examine(self) -> Transaction[None]:
        """Check the files and that the disk accepts writes. Raises Overloaded."""
        self._files.check_content()
        return (yield from try_write() if self._failing else ping())

    # --- in the thread

    def _main(self) -> None:
        try:
            while not self._stopping:
                batch = self._next()
                if batch:
                    self._turn(batch)
                self._erase()
        except BaseException:
            logger.exception("database.writer_ended")
        finally:
            self._ended = True
            self.abandon("The database is closed." if self._stopping else _ENDED)
            self._disconnect()

    def _next(self) -> list[Write]:
        """Wait for a write and return it with all waiting ones; empty at the end, or to erase."""
        batch: list[Write] = []
        try:
            first = self._queue.get(timeout=self._erasure.seconds_left(self._now()))
            while first is not None:
                batch += first
                if self._queue.empty() or len(batch) >= _BATCH:
                    return batch
                first = self._queue.get_nowait()
            self._stopping = True
        except Empty:
            pass
        return batch

    def _turn(self, batch: list[Write]) -> None:
        began = self._now()
        self._batch = batch
        self._commit(batch)
        for write in batch:
            if write.outcome is not None and write.outcome.erased:
                self._erasure.request(self._now())
                self._erase()
                break
        if self._measured is not None:
            self._measured(self._now() - began, len(batch))
        self._batch = []
        self._deliver(batch)

    def _erase(self) -> None:
        if self._erasure.due is not None and self._connection is not None:
            self._erasure.attempt(self._connection, self._now(), self._patience)

    def _commit(self, batch: list[Write]) -> None:
        """Commit a batch in one database transaction, in which a failed write has no effect."""
        error = self._transact(batch, self._run)
        if isinstance(error, _HalfDone) and len(batch) > 1:
            error = self._transact(batch, self._run_apart)
        if error is None:
            return
        if isinstance(error, _HalfDone):
            error = error.error
        elif len(batch) > 1 and not (is_busy(error) or is_lost(error) or _is_refusal(error)):
            for write in batch:  # a smaller one may fit, and one that cannot fails alone
                self._commit([write])
            return
        for write in batch:
            write.error = Overloaded(error.message) if _is_refusal(error) else translated(error)

    def _transact(
        self, batch: list[Write], run_one: Callable[[sqlite3.Connection, Write], None]
    ) -> Exception | None:
        """Return the error that undid the whole batch; None if it was committed."""
        try:
            durable = any(map(_IS_DURABLE, batch))
            connection = self._ready(durable=durable)
            changes = connection.total_changes
            connection.execute("BEGIN IMMEDIATE")
            for write in batch:
                run_one(connection, write)
            connection.execute("COMMIT")
            if durable:
                self._files.check_folder()
            if self._failing and connection.total_changes != changes:
                self._recovered(connection)
        except Exception as error:  # noqa: BLE001 - the thread outlives every error; the callers get it
            for write in batch:
                write.outcome = write.error = None
            self._failed(error)
            return error
        return None

    def _run(self, connection: sqlite3.Connection, write: Write) -> None:
        """Run one transaction; a failure before its first change needs no rollback."""
        changes = connection.total_changes
        try:
            write.outcome = run(connection, self._texts, write.transaction())
        except Exception as error:
            if is_away(error) or not connection.in_transaction:
                raise
            if connection.total_changes != changes:
                raise _HalfDone(error) from error
            write.error = translated(self._files.explained(error))

    def _run_apart(self, connection: sqlite3.Connection, write: Write) -> None:
        """Run one transaction so that it alone can be undone."""
        connection.execute("SAVEPOINT one")
        try:
            write.outcome = run(connection, self._texts, write.transaction())
        except Exception as error:
            if is_away(error) or not connection.in_transaction:
                raise
            connection.execute("ROLLBACK TO one")
            write.error = translated(self._files.explained(error))
        connection.execute("RELEASE one")

    # --- the connection

    def _ready(self, *, durable: bool) -> sqlite3.Connection:
        """Return the connection, a new one if it was lost. Raises sqlite3.Error, Overloaded."""
        if self._failing or self._files.damage is not None:
            self._files.check()
        connection = self._connection
        if connection is None:
            connection = self._connection = connect(self._files.path)
            self._synchronous = ""
            wait_at_most(connection, self._patience)
        wanted = "FULL" if durable else "NORMAL"
        if wanted != self._synchronous:
            connection.execute(f"PRAGMA synchronous={wanted}")
            self._synchronous = wanted
        return connection

    def _failed(self, error: Exception) -> None:
        """Roll back, and keep the connection only if the next transaction can use it."""
        away = is_away(error) or _is_refusal(error)
        if away and not self._failing:
            logger.error("database.not_written", error=str(error))
        self._failing = self._failing or away
        self._files.explained(error)
        if self._connection is None:
            return
        try:
            undo(self._connection)
            if is_busy(error):
                self._patience = _BUSY_AGAIN_SECONDS
                wait_at_most(self._connection, self._patience)
        except sqlite3.Error:
            self._disconnect()
        if is_lost(error):
            self._disconnect()

    def _recovered(self, connection: sqlite3.Connection) -> None:
        logger.info("database.written_again")
        self._failing = False
        if self._patience != BUSY_SECONDS:
            self._patience = BUSY_SECONDS
            wait_at_most(connection, BUSY_SECONDS)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with suppress(sqlite3.Error):  # it serves the next start's speed, or was lost anyway
            if self._stopping:
                connection.execute("PRAGMA optimize")
        with suppress(sqlite3.Error):
            connection.close()


class _HalfDone(Exception):
    """A transaction failed after its first change."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(str(error))


def _is_refusal(error: Exception) -> TypeGuard[Overloaded]:
    """Whether it is already an error of the store's port."""
    return isinstance(error, Overloaded)
