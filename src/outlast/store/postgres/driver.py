"""Scripts on Postgres: a pool of connections, each transaction in one pipeline.

script ──► BEGIN, statements, the queue's jobs, COMMIT ──► listeners here, hints to other processes

Statements whose rows nobody reads are sent without waiting for their answer. What belongs to one
execution is written in the order of the calls. A transaction that lost a race (a deadlock, a row
that another made first) or its connection before the commit is run again from its beginning.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, TypeAlias, TypeVar

import orjson
import psycopg
import structlog
from psycopg import AsyncConnection, AsyncCursor, errors
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.string import TextLoader
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from sqlalchemy.dialects import postgresql

from outlast.model.error import Overloaded
from outlast.model.execution import Execution
from outlast.store.listeners import Listeners
from outlast.store.postgres.hints import NOTIFY, Announcer, Listener
from outlast.store.postgres.migrate import migrate
from outlast.store.postgres.patience import ANSWER_SECONDS, PatientConnection
from outlast.store.postgres.refusal import connecting
from outlast.store.scripts import Outcome, Query, Row, Script
from outlast.store.scripts.keys import ping
from outlast.store.statements import Statement

T = TypeVar("T")
Enqueue: TypeAlias = Callable[[AsyncConnection[Any], Sequence[Execution]], Awaitable[None]]
CommitListener: TypeAlias = Callable[[float, int], None]

_ATTEMPTS: Final = 5
_POOL_SECONDS: Final = 3.0
"""How long a caller waits for a connection before it hears that the database is away."""
_BUSY_SECONDS: Final = 15.0
"""How long it waits where the database answers others meanwhile."""
_RUNNING_SECONDS: Final = 60.0
"""What an execution that runs waits there: to refuse it would be to do its step again."""
_AWAY: Final = "The database cannot be reached."
_PREPARED: Final = 500
"""Prepared statements of one connection: more than there are texts."""
_RETURNED: Final = (errors.UniqueViolation, errors.DeadlockDetected, errors.SerializationFailure)
_NETWORK: Final = {
    "connect_timeout": "3",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "6000",
    "application_name": "outlast",
}
"""A connection whose other end has vanished is given up within seconds; the URL may say more."""
_SERVER: Final = """
SET tcp_keepalives_idle TO 5; SET tcp_keepalives_interval TO 2; SET tcp_keepalives_count TO 3;
SET tcp_user_timeout TO 6000
"""
"""The server gives up a process that has vanished as soon: it may hold locks that others need."""
_LONGEST_TRANSACTION: Final = f"SET transaction_timeout TO '{ANSWER_SECONDS:g}s'"
_FROM_17: Final = 170_000
"""The server's version number that knows of it: one whose client is frozen is ended too."""

logger = structlog.get_logger(__name__)


class PostgresDriver:
    """Scripts on one Postgres database that any number of processes share."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        enqueue: Enqueue | None = None,
        listen_url: str = "",
        measured: CommitListener | None = None,
    ) -> None:
        """`enqueue` writes jobs for executions that may run, in the transaction that made them so.

        `listen_url` is a way to the same database that keeps its session, where `url` does not
        (pgbouncer in transaction mode); migrations go there too, for their lock. `measured` hears
        of every commit: its seconds and 1.
        """
        self._url = conninfo(url)
        self._pool_size = pool_size
        self._enqueue = enqueue
        self._measured = measured
        self._texts = _Texts()
        self._order = _Order()
        self._answered = -_POOL_SECONDS
        self._pool: AsyncConnectionPool | None = None
        self._announcer = Announcer(self._announce)
        self._direct_url = conninfo(listen_url or url)
        self._listener = Listener(self._direct_url, self._announcer.sender)
        self._listeners: Listeners | None = None

    def listen(self, listeners: Listeners) -> None:
        self._listeners = listeners
        self._listener.listeners = listeners

    async def open(self) -> None:
        await asyncio.to_thread(migrate, self._direct_url)
        pool = make_pool(self._url, self._pool_size, _configure)
        await pool.open()
        self._pool = pool
        if self._listeners is not None:
            self._listener.start()

    async def close(self) -> None:
        await self._listener.stop()
        await self._announcer.stop()
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    @property
    def hears(self) -> bool:
        """Whether hints of other processes come in now."""
        return self._listener.hears

    async def write(
        self, script: Callable[[], Script[T]], *, durable: bool = True, of: Sequence[str] = ()
    ) -> T:
        async with self._order.turn(of):
            began = asyncio.get_running_loop().time()
            outcome = await self._transact(script, durable=durable, running=bool(of))
            if self._measured is not None:
                self._measured(asyncio.get_running_loop().time() - began, 1)
            self._tell(outcome)
        return outcome.value

    async def read(
        self, script: Callable[[], Script[T]], *, snapshot: bool = False, light: bool = False
    ) -> T:
        del light  # every connection of the pool may be had
        begin = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",) if snapshot else ()
        return (await self._again(lambda: _Transaction(script(), begin))).value

    async def ping(self) -> None:
        await self.read(ping)

    def _tell(self, outcome: Outcome[Any]) -> None:
        """Followers of this process hear a commit itself, those of others a hint."""
        if self._listeners is not None:
            for committed in outcome.committed:
                self._listeners.committed(committed)
        self._announcer.announce(outcome)

    async def _announce(self, payloads: list[str]) -> None:
        async with self._connection() as connection:
            await connection.execute(NOTIFY, (orjson.dumps(payloads).decode(),))

    # --- transactions

    async def _transact(
        self, script: Callable[[], Script[T]], *, durable: bool, running: bool
    ) -> Outcome[T]:
        begin = ("BEGIN",) if durable else ("BEGIN", "SET LOCAL synchronous_commit TO OFF")
        busy = _RUNNING_SECONDS if running else _BUSY_SECONDS
        return await self._again(lambda: _Transaction(script(), begin), busy)

    async def _again(
        self, made: Callable[[], "_Transaction[T]"], busy: float = _BUSY_SECONDS
    ) -> Outcome[T]:
        """Run a transaction, anew where that is safe. Raises Overloaded, and what the script does.

        Safe is what surely was not committed: the server said so, or it was not asked to yet.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            transaction = made()
            try:
                async with self._connection(busy) as connection:
                    outcome = await transaction.run(connection, self._texts, self._enqueue)
                    self._answered = asyncio.get_running_loop().time()
                    return outcome
            except _RETURNED as error:
                if attempt == _ATTEMPTS:
                    raise Overloaded("The database could not be written.") from error
            except PoolTimeout as error:
                why = "The database is busy." if self._answers() else _AWAY
                raise Overloaded(why) from error
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self._answered = -_POOL_SECONDS
                if transaction.committing or attempt == _ATTEMPTS:
                    raise Overloaded(_AWAY) from error
                if self._pool is not None:
                    await self._pool.drain()
            except psycopg.Error as error:
                why = error.diag.message_primary or type(error).__name__
                raise Overloaded(f"The database refused: {why}.") from error
        raise AssertionError

    @asynccontextmanager
    async def _connection(self, busy: float = _BUSY_SECONDS) -> AsyncIterator[AsyncConnection[Any]]:
        pool = self._pool
        if pool is None:
            raise Overloaded("The database is closed.")
        connection = await self._given(pool, busy)
        try:
            yield connection
        finally:
            await pool.putconn(connection)

    async def _given(self, pool: AsyncConnectionPool, busy: float) -> AsyncConnection[Any]:
        """A connection of the pool, waited for as long as the database answers others."""
        loop = asyncio.get_running_loop()
        until = loop.time() + busy
        while True:
            try:
                return await pool.getconn(_POOL_SECONDS)
            except PoolTimeout:
                if not self._answers() or loop.time() >= until:
                    raise

    def _answers(self) -> bool:
        """Whether the database has answered lately: who waits for a connection waits in a queue."""
        return asyncio.get_running_loop().time() - self._answered < _POOL_SECONDS


class _Transaction(Generic[T]):
    """One run of a script."""

    def __init__(self, script: Script[T], begin: Sequence[str]) -> None:
        self._script = script
        self._begin = begin
        """Empty for one reading statement, which needs no transaction around it."""
        self.committing = False

    async def run(
        self, connection: AsyncConnection[Any], texts: "_Texts", enqueue: Enqueue | None
    ) -> Outcome[T]:
        try:
            if not self._begin:
                return await self._run(connection, texts)
            async with connection.pipeline():
                for text in self._begin:
                    await connection.execute(text)
                outcome = await self._run(connection, texts)
                if enqueue is not None and outcome.runnable:
                    await enqueue(connection, outcome.runnable)
                self.committing = True
                await connection.execute("COMMIT")
        except BaseException:
            if not connection.closed:
                await connection.rollback()
            raise
        finally:
            self._script.close()
        return outcome

    async def _run(self, connection: AsyncConnection[Any], texts: "_Texts") -> Outcome[T]:
        """Feed the script its rows; inserts that follow each other go as one statement."""
        rows: list[Row] = []
        inserts: list[Query] = []
        cursor = connection.cursor()
        try:
            query = next(self._script)
            while True:
                if query.statement.inserts:
                    inserts.append(query)
                    rows = []
                else:
                    await _insert(cursor, inserts, texts)
                    text, constants = texts.of((query.statement,))
                    await cursor.execute(text, {**constants, **query.parameters})
                    rows = await cursor.fetchall() if query.statement.answers else []
                query = self._script.send(rows)
        except StopIteration as end:
            await _insert(cursor, inserts, texts)
            return end.value  # type: ignore[no-any-return]


async def _insert(cursor: AsyncCursor[Any], inserts: list[Query], texts: "_Texts") -> None:
    """Send what was gathered; no insert reads what another has written."""
    if not inserts:
        return
    text, parameters = texts.of(tuple(query.statement for query in inserts))
    parameters = dict(parameters)
    for number, query in enumerate(inserts):
        prefix = _prefix(number)
        parameters |= {prefix + name: value for name, value in query.parameters.items()}
    inserts.clear()
    await cursor.execute(text, parameters)


class _Order:
    """Writes of one execution take effect in the order of the calls, whatever their connection."""

    def __init__(self) -> None:
        self._last: dict[str, asyncio.Future[None]] = {}

    @asynccontextmanager
    async def turn(self, keys: Sequence[str]) -> AsyncIterator[None]:
        """Wait until every earlier write of one of these is done; later ones wait for this one."""
        earlier = [self._last[key] for key in keys if key in self._last]
        done = asyncio.get_running_loop().create_future()
        self._last.update(dict.fromkeys(keys, done))
        try:
            for write in earlier:
                await asyncio.shield(write)
            yield
        finally:
            done.set_result(None)
            for key in keys:
                if self._last.get(key) is done:
                    del self._last[key]


class _Texts:
    """Statements as Postgres reads them, compiled once; several inserts are one text."""

    def __init__(self) -> None:
        self._dialect = postgresql.dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]
        self._texts: dict[tuple[Statement, ...], tuple[str, dict[str, Any]]] = {}

    def of(self, statements: tuple[Statement, ...]) -> tuple[str, dict[str, Any]]:
        found = self._texts.get(statements)
        if found is None:
            found = self._texts[statements] = self._joined(statements)
        return found

    def _joined(self, statements: tuple[Statement, ...]) -> tuple[str, dict[str, Any]]:
        """`WITH i0 AS (INSERT …), i1 AS (INSERT …) INSERT …`, with a prefix for each one's names.

        https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-MODIFYING
        """
        texts: list[str] = []
        constants: dict[str, Any] = {}
        for number, statement in enumerate(statements):
            text, own = statement.compiled(self._dialect)
            prefix = _prefix(number)
            texts.append(_NAME.sub(rf"%({prefix}\1)s", text) if prefix else text)
            constants |= {prefix + name: value for name, value in own.items()}
        *first, last = texts
        withs = ", ".join(f"i{number} AS ({text})" for number, text in enumerate(first))
        return (f"WITH {withs} {last}" if first else last), constants


_NAME: Final = re.compile(r"%\((\w+)\)s")


def _prefix(number: int) -> str:
    return f"i{number}_" if number else ""


async def _configure(connection: AsyncConnection[Any]) -> None:
    """JSON travels as text here as everywhere."""
    await connection.set_autocommit(True)
    newer = connection.info.server_version >= _FROM_17
    await connection.execute(f"{_SERVER}; {_LONGEST_TRANSACTION}" if newer else _SERVER)
    connection.adapters.register_loader("jsonb", TextLoader)
    connection.prepared_max = _PREPARED


def make_pool(
    url: str, size: int, configure: Callable[[AsyncConnection[Any]], Awaitable[None]]
) -> AsyncConnectionPool:
    """At most so many connections, each made when it is first wanted; nothing is opened yet."""
    return AsyncConnectionPool(
        conninfo(url),
        connection_class=PatientConnection,
        min_size=1,
        max_size=size,
        open=False,
        configure=configure,
        timeout=_POOL_SECONDS,
        reconnect_timeout=_POOL_SECONDS,
    )


def conninfo(url: str) -> str:
    """The URL with our patience on the network where it does not say its own.

    Raises Misconfigured for one that cannot be read.
    """
    with connecting():
        given = conninfo_to_dict(url)
    return make_conninfo(url, **{k: v for k, v in _NETWORK.items() if k not in given})
