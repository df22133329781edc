"""SQLite: one writer thread that commits for all waiting executions together, and readers.

event loop ── transactions ──► queue ──► writer thread: BEGIN, all that wait, COMMIT ──► event loop

A commit with any durable transaction waits for the disk (synchronous=FULL); one with only text does
not (synchronous=NORMAL): it survives the process. One process per file: a lock ensures that.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import structlog

from outlast.model.error import Misconfigured, Overloaded
from outlast.store.driver import Transaction
from outlast.store.full_disk import reason_of
from outlast.store.listeners import Listeners, guard, guarded
from outlast.store.migrations import migrate_sqlite
from outlast.store.sqlite.connection import BUSY_SECONDS
from outlast.store.sqlite.files import Files
from outlast.store.sqlite.lock import FileLock
from outlast.store.sqlite.readers import Readers
from outlast.store.sqlite.texts import Texts
from outlast.store.sqlite.writer import Write, Writer

T = TypeVar("T")
CommitListener: TypeAlias = Callable[[float, int], None]

_ANSWER_SECONDS: Final = 5.0
"""How long `ping` waits for the writer."""
_CLOSE_SECONDS: Final = BUSY_SECONDS + 5.0
"""How long `close` waits for the last commit, also if the file is locked."""
_CLOSED: Final = "The database is closed."

logger = structlog.get_logger(__name__)


class SqliteDriver:
    """Transactions on one SQLite file."""

    def __init__(
        self, path: Path, *, exclusive: bool = True, measured: CommitListener | None = None
    ) -> None:
        """`exclusive`: take the lock of the single process that runs executions on this file.

        `measured` is called for every commit, in the writer's thread, with its seconds and the
        number of its transactions.
        """
        self._files = Files(path)
        self._exclusive = exclusive
        self._measured = None if measured is None else guard("measured", measured)
        self._lock: FileLock | None = None
        self._writer: Writer | None = None
        self._readers: Readers | None = None
        self._listeners: Listeners | None = None
        self._gathered: list[Write] = []
        """Writes of this turn of the event loop."""

    def listen(self, listeners: Listeners) -> None:
        self._listeners = guarded(listeners)

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._files.make()
        if self._exclusive:
            self._lock = FileLock(self._files.path)
        try:
            await asyncio.to_thread(self._open)
        except sqlite3.Error as error:
            await self.close()
            path = self._files.path
            raise Misconfigured(
                f"The database {path} cannot be opened: {reason_of(error)}."
            ) from error
        except BaseException:
            await self.close()
            raise

    def _open(self) -> None:
        migrate_sqlite(self._files.path)
        texts = Texts()
        self._readers = Readers(self._files, texts)
        self._readers.open()
        writer = Writer(
            self._files,
            texts,
            now=self._loop.time,
            deliver=self._deliver,
            measured=self._measured,
        )
        writer.start()
        self._writer = writer
        self._files.watch(None if self._lock is None else self._lock.database)

    async def close(self) -> None:
        if self._gathered:
            self._hand_over()
        writer, self._writer = self._writer, None
        readers, self._readers = self._readers, None
        if writer is not None:
            writer.stop()
            if not await asyncio.to_thread(writer.join, _CLOSE_SECONDS):
                logger.error("database.writer_stuck")
                writer.abandon(_CLOSED)
        if readers is not None:
            await asyncio.to_thread(readers.close)
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def write(
        self,
        transaction: Callable[[], Transaction[T]],
        *,
        durable: bool = True,
        of: Sequence[str] = (),
    ) -> T:
        del of  # one queue keeps the order of all
        if self._writer is None:
            raise Overloaded(_CLOSED)
        future: asyncio.Future[T] = self._loop.create_future()
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append(Write(transaction, durable, future))
        return await future

    async def read(
        self,
        transaction: Callable[[], Transaction[T]],
        *,
        snapshot: bool = False,
        light: bool = False,
    ) -> T:
        del snapshot  # every read has one
        if self._readers is None:
            raise Overloaded(_CLOSED)
        return await self._readers.read(transaction(), light=light)

    async def ping(self) -> None:
        """Let the writer check the files."""
        if self._writer is None:
            raise Overloaded(_CLOSED)
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self.write(self._writer.examine, durable=False)
        except TimeoutError as error:
            raise Overloaded("The database's writer does not answer.") from error

    @property
    def crowded(self) -> bool:
        """False: one commit takes all that wait."""
        return False

    @property
    def joins(self) -> bool:
        """False, for the same reason."""
        return False

    def _hand_over(self) -> None:
        """Enqueue what one turn of the event loop has written, for one commit."""
        gathered, self._gathered = self._gathered, []
        if self._writer is not None:
            self._writer.put(gathered)

    # --- back on the event loop

    def _deliver(self, batch: list[Write]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._tell, batch)
        except RuntimeError:  # the loop is closed: no caller is left
            return

    def _tell(self, batch: list[Write]) -> None:
        for write in batch:
            outcome = write.outcome
            if outcome is not None and self._listeners is not None:
                for committed in outcome.committed:
                    self._listeners.committed(committed)
                for execution in outcome.runnable:
                    self._listeners.runnable(execution)
                for execution in outcome.begun:
                    self._listeners.begun(execution)
                for execution_id in outcome.cancelled:
                    self._listeners.cancelled(execution_id)
                for paused in outcome.paused:
                    self._listeners.paused(*paused)
            if write.future.done():
                continue
            if outcome is not None:
                write.future.set_result(outcome.value)
            else:
                write.future.set_exception(
                    write.error or Overloaded("The database could not be written.")
                )
