"""One run of a transaction on a connection, in as few statements as possible.

Independent statements are joined into one. A transaction of one statement needs no BEGIN and
COMMIT; any other runs in a pipeline, which waits only for rows that are read.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, Generic, Protocol, TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncRawCursor

from outlast.store.driver import (
    Batch,
    Guarded,
    Query,
    Request,
    Row,
    Statement,
    Together,
    Transaction,
    TransactionResult,
)
from outlast.store.postgres.patience import PatientConnection
from outlast.store.postgres.texts import Texts

T = TypeVar("T")

_READ_COMMITTED: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""Set regardless of the server's default: locks and retries are designed for this level."""


class Begin(Enum):
    """How a transaction begins."""

    NOTHING = ()
    """One statement that reads needs no transaction around it."""
    SNAPSHOT = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",)
    DURABLE = (_READ_COMMITTED,)
    VOLATILE = (_READ_COMMITTED, "SET LOCAL synchronous_commit TO OFF")
    """A power cut may lose it."""


class Fate(Enum):
    """Outcome of a transaction."""

    COMMITTED = auto()
    UNDONE = auto()
    UNKNOWN = auto()
    """The connection was lost while it was committed."""


def _ignore(_: Fate) -> None:
    pass


@dataclass(frozen=True, slots=True)
class JobChanges:
    """A transaction's changes of the queue."""

    queries: tuple[Query, ...] = ()
    """None of them returns rows."""
    settle: Callable[[Fate], None] = _ignore
    """Called once with the transaction's outcome, before its listeners."""


class Enqueue(Protocol):
    """The queue as transactions change it."""

    def __call__(self, result: TransactionResult[Any], *, first: bool) -> JobChanges:
        """Return the changes for a transaction with this result; `first`: it is the first try."""
        ...


def no_jobs(result: TransactionResult[Any], *, first: bool) -> JobChanges:
    """Return no changes."""
    del result, first
    return JobChanges()


class Run(Generic[T]):
    """One run of a transaction."""

    def __init__(
        self,
        transaction: Transaction[T],
        begin: Begin,
        texts: Texts,
        enqueue: Callable[[TransactionResult[Any]], JobChanges],
    ) -> None:
        self._statements = transaction
        self._begin = begin
        self._texts = texts
        self._enqueue = enqueue
        self._waiting: list[Query] = []
        """Queries to be sent as one statement, before anything else is sent."""
        self._result: TransactionResult[T] | None = None
        self._changes: JobChanges | None = None
        self.committing = False
        self.hung_up = False
        """Whether an answer did not come in time."""

    async def run(self, connection: AsyncConnection[Any]) -> TransactionResult[T]:
        """Run the transaction. Raises psycopg.Error, and its own errors."""
        try:
            await self._run(connection)
        except BaseException:
            self.hung_up = isinstance(connection, PatientConnection) and connection.hung_up
            if not connection.closed:
                with suppress(psycopg.Error):  # what went wrong before counts
                    await connection.rollback()
            self._settle(connection)
            raise
        finally:
            self._statements.close()
        if self._changes is not None:
            self._changes.settle(Fate.COMMITTED)
        assert self._result is not None
        return self._result

    def _settle(self, connection: AsyncConnection[Any]) -> None:
        if self._changes is not None:
            lost = self.committing and connection.closed
            self._changes.settle(Fate.UNKNOWN if lost else Fate.UNDONE)

    async def _run(self, connection: AsyncConnection[Any]) -> None:
        request = self._next(None)
        if self._begin is Begin.NOTHING:
            while request is not None:
                request = self._next(await self._rows(connection, request))
        elif request is None:
            self.committing = True
            await self._send(connection)
        elif isinstance(request, Guarded) or (isinstance(request, Batch) and request.alone):
            self.committing = True
            request = self._next(await self._alone(connection, request))
            assert request is None
            assert not self._waiting
        else:
            await self._pipeline(connection, request)

    async def _pipeline(self, connection: AsyncConnection[Any], request: Request | None) -> None:
        async with connection.pipeline():
            for text in self._begin.value:
                await connection.execute(text)
            while request is not None:
                await self._send(connection)
                request = self._next(await self._rows(connection, request))
            await self._send(connection)
            self.committing = True
            await connection.execute("COMMIT")

    def _next(self, rows: list[Row] | None) -> Request | None:
        """Pass rows to the transaction; return what must be sent by itself, None at its end."""
        try:
            request = next(self._statements) if rows is None else self._statements.send(rows)
            while isinstance(request, Query) and self._may_wait(request.statement):
                self._waiting.append(request)
                request = self._statements.send([])
        except StopIteration as end:
            self._result = end.value
            if self._begin in (Begin.DURABLE, Begin.VOLATILE):
                self._changes = self._enqueue(end.value)
                self._waiting.extend(self._changes.queries)
            return None
        return request

    def _may_wait(self, statement: Statement) -> bool:
        """Whether it may be joined with those that wait.

        Two that lock rows may not: Postgres runs the parts of a statement in an order of its own.
        """
        locks = statement.independent and any(one.statement.independent for one in self._waiting)
        return statement.joins and not locks

    async def _send(self, connection: AsyncConnection[Any]) -> None:
        """Send waiting queries; none of them reads what another writes."""
        if self._waiting:
            text, parameters = self._texts.of(self._waiting)
            self._waiting.clear()
            await AsyncRawCursor(connection).execute(text, parameters)

    async def _rows(self, connection: AsyncConnection[Any], request: Request) -> list[Row]:
        assert not isinstance(request, Guarded)
        if isinstance(request, Together):
            sent = [await self._sent(connection, query) for query in request.queries]
            return [
                tuple(await cursor.fetchall() if query.statement.answers else ())
                for cursor, query in zip(sent, request.queries, strict=True)
            ]
        cursor = await self._sent(connection, request)
        return await cursor.fetchall() if request.statement.answers else []

    async def _sent(
        self, connection: AsyncConnection[Any], query: Query | Batch
    ) -> AsyncRawCursor[Any]:
        if isinstance(query, Batch):
            text, parameters = self._texts.of_batch(query, durable=True)
        else:
            text, parameters = self._texts.of((query,))
        return await AsyncRawCursor(connection).execute(text, parameters)

    async def _alone(self, connection: AsyncConnection[Any], request: Batch | Guarded) -> list[Row]:
        durable = self._begin is Begin.DURABLE
        if isinstance(request, Guarded):  # waits for the disk in any case, as it is one statement
            return await (await self._sent(connection, request.whole)).fetchall()
        text, parameters = self._texts.of_batch(request, durable=durable)
        cursor = await AsyncRawCursor(connection).execute(text, parameters)
        rows = await cursor.fetchall()
        return rows if durable else [row[:-1] for row in rows]
