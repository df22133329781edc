"""SQLite: one writer thread that commits for all waiting executions at once, readers beside it.

event loop ── scripts ──► queue ──► writer thread: BEGIN, every script that waits, COMMIT ──► event
loop A commit with any durable script waits for the disk (synchronous=FULL); one of text alone does
not (synchronous=NORMAL): it survives the process. One process per file: a lock file says so.
"""

import asyncio
import fcntl
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeAlias, TypeVar

from sqlalchemy.dialects import sqlite

from outlast.model.error import OutlastError, Overloaded, Refused, StoreLocked
from outlast.store.listeners import Listeners, guard, guarded
from outlast.store.migrations import migrate_sqlite
from outlast.store.scripts import Outcome, Row, Script
from outlast.store.scripts.keys import ping, try_write
from outlast.store.statements import Statement

T = TypeVar("T")
CommitListener: TypeAlias = Callable[[float, int], None]

_BATCH: Final = 512
"""Scripts per transaction at most, so that the first of them does not wait for ever."""
_READERS: Final = 4
_BUSY_SECONDS: Final = 10


@dataclass(slots=True, eq=False)
class _Write:
    script: Callable[[], Script[Any]]
    durable: bool
    future: asyncio.Future[Any]
    outcome: Outcome[Any] | None = None
    error: BaseException | None = None


class SqliteDriver:
    """Scripts on one SQLite file."""

    def __init__(
        self, path: Path, *, exclusive: bool = True, measured: CommitListener | None = None
    ) -> None:
        """`exclusive` takes the lock of the one process that runs executions on this file.

        `measured` hears of every commit from the writer's thread: its seconds and its scripts.
        """
        self._path = path
        self._exclusive = exclusive
        self._measured = guard("measured", measured) if measured is not None else None
        self._lock: int | None = None
        self._queue: SimpleQueue[_Write | None] = SimpleQueue()
        self._writer: threading.Thread | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._connections = threading.local()
        self._open_readers: list[sqlite3.Connection] = []
        self._listeners: Listeners | None = None
        self._texts = _Texts()
        self._broken = False
        """The last commit failed, as on a full disk."""

    def listen(self, listeners: Listeners) -> None:
        self._listeners = guarded(listeners)

    async def open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._exclusive:
            self._lock = _take_lock(self._path)
        self._loop = asyncio.get_running_loop()
        await asyncio.to_thread(migrate_sqlite, self._path)
        connection = _connect(self._path)
        self._writer = threading.Thread(
            target=self._write_all, args=(connection,), name="sqlite-writer", daemon=True
        )
        self._writer.start()
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="sqlite-reader")

    async def close(self) -> None:
        if self._writer is not None:
            self._queue.put(None)
            await asyncio.to_thread(self._writer.join)
            self._writer = None
        if self._readers is not None:
            self._readers.shutdown()
            self._readers = None
        for connection in self._open_readers:
            connection.close()
        self._open_readers.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def write(
        self, script: Callable[[], Script[T]], *, durable: bool = True, of: Sequence[str] = ()
    ) -> T:
        del of  # one queue keeps the order of all
        if self._writer is None:
            raise Overloaded("The database is closed.")
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(_Write(script, durable, future))
        return await future

    async def read(self, script: Callable[[], Script[T]], *, snapshot: bool = False) -> T:
        del snapshot  # every read has one
        if self._readers is None:
            raise Overloaded("The database is closed.")
        return await self._loop.run_in_executor(self._readers, self._read, script())

    async def ping(self) -> None:
        await self.read(ping)
        if self._broken:
            await self.write(try_write)

    def _read(self, script: Script[T]) -> T:
        connection = getattr(self._connections, "reader", None)
        if connection is None:
            connection = _connect(self._path)
            connection.execute("PRAGMA query_only=ON")
            self._connections.reader = connection
            self._open_readers.append(connection)
        connection.execute("BEGIN")
        try:
            return self._run(connection, script).value
        except sqlite3.Error as error:
            raise Overloaded("The database cannot be read.") from error
        finally:
            connection.execute("COMMIT")

    def _run(self, connection: sqlite3.Connection, script: Script[T]) -> Outcome[T]:
        rows: list[Row] = []
        cursor, of = connection.cursor(), self._texts.of
        try:
            statement, parameters = next(script)
            while True:
                text, constants, in_order, answers = of(statement)
                if constants:
                    parameters = {**constants, **parameters}
                cursor.execute(text, in_order(parameters))
                rows = cursor.fetchall() if answers else []
                statement, parameters = script.send(rows)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            script.close()
            cursor.close()

    # --- the writer's thread

    def _write_all(self, connection: sqlite3.Connection) -> None:
        synchronous = ""
        while (first := self._queue.get()) is not None:
            batch = [first]
            stop = self._gather(batch)
            wanted = "FULL" if any(write.durable for write in batch) else "NORMAL"
            if wanted != synchronous:
                connection.execute(f"PRAGMA synchronous={wanted}")
                synchronous = wanted
            began = self._loop.time()
            self._commit(connection, batch)
            if any(write.outcome is not None and write.outcome.erased for write in batch):
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            if self._measured is not None:
                self._measured(self._loop.time() - began, len(batch))
            self._loop.call_soon_threadsafe(self._tell, batch)
            if stop:
                break
        connection.execute("PRAGMA optimize")
        connection.close()

    def _gather(self, batch: list[_Write]) -> bool:
        """Take what waits; True when the end was among it."""
        while len(batch) < _BATCH:
            try:
                write = self._queue.get_nowait()
            except Empty:
                return False
            if write is None:
                return True
            batch.append(write)
        return False

    def _commit(self, connection: sqlite3.Connection, batch: list[_Write]) -> None:
        """All in one transaction; where one fails, each in its own, so that it fails alone."""
        if not self._transact(connection, batch) and len(batch) > 1:
            for write in batch:
                self._transact(connection, [write])

    def _transact(self, connection: sqlite3.Connection, batch: list[_Write]) -> bool:
        write = batch[0]
        try:
            connection.execute("BEGIN IMMEDIATE")
            for write in batch:
                write.error = None
                write.outcome = self._run(connection, write.script())
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - the writer's thread outlives every mistake; the caller hears of it
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            for undone in batch:
                undone.outcome = None
            write.error = _translate(error)
            self._broken = self._broken or isinstance(error, sqlite3.OperationalError)
            return False
        self._broken = False
        return True

    # --- back on the event loop

    def _tell(self, batch: list[_Write]) -> None:
        for write in batch:
            outcome = write.outcome
            if outcome is not None and self._listeners is not None:
                for committed in outcome.committed:
                    self._listeners.committed(committed)
                for execution in outcome.runnable:
                    self._listeners.runnable(execution)
            if write.future.done():
                continue
            if outcome is not None:
                write.future.set_result(outcome.value)
            else:
                write.future.set_exception(
                    write.error or Overloaded("The database could not be written.")
                )


_InOrder: TypeAlias = Callable[[dict[str, Any]], Sequence[Any]]
_Compiled: TypeAlias = tuple[str, dict[str, Any], _InOrder, bool]
"""The text, the values that are part of it, what puts parameters in order, whether it answers."""
_NAME: Final = re.compile(r":(\w+)")


class _Texts:
    """Statements as SQLite reads them, compiled once; binding by place is cheaper than by name."""

    def __init__(self) -> None:
        self._dialect = sqlite.dialect(paramstyle="named")
        self._texts: dict[Statement, _Compiled] = {}

    def of(self, statement: Statement) -> _Compiled:
        """As SQLite reads it."""
        found = self._texts.get(statement)
        if found is None:
            text, constants = statement.compiled(self._dialect)
            in_order = _in_order(_NAME.findall(text))
            text = _NAME.sub("?", text)
            found = self._texts[statement] = (text, constants, in_order, statement.answers)
        return found


def _in_order(names: Sequence[str]) -> _InOrder:
    if len(names) > 1:
        return itemgetter(*names)
    return lambda parameters: [parameters[name] for name in names]


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=512,
    )
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA temp_store=MEMORY")
    connection.execute("PRAGMA secure_delete=ON")
    return connection


def _take_lock(path: Path) -> int:
    lock = path.with_name(path.name + ".lock")
    handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise StoreLocked(
            f"{path} is in use by process {holder}. SQLite takes one server per file: stop that "
            "process, choose another OUTLAST_DATA_DIR, or use Postgres."
        ) from error
    os.ftruncate(handle, 0)
    os.write(handle, str(os.getpid()).encode())
    return handle


_AWAY: Final = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_NOTADB,
    }
)
"""The file or the disk, not the write: it may be tried again. https://sqlite.org/rescode.html"""


def _translate(error: BaseException) -> BaseException:
    translated: OutlastError
    if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _AWAY:
        translated = Overloaded(f"The database could not be written: {error}.")
    elif isinstance(error, (sqlite3.Error, OverflowError, UnicodeError)):
        translated = Refused(f"The database refused this write: {error}.")
    else:
        return error
    translated.__cause__ = error
    return translated
