"""Transactions on Postgres: a pool of connections, each transaction in one pipeline.

transaction ──► BEGIN, statements, the queue's jobs, COMMIT ──► listeners here, and notifications
to other processes

Statements whose rows are not read are sent without waiting for their results. Writes of one
execution take effect in the order of the calls. A transaction that lost a race (a deadlock, a row
that another inserted first) or its connection before the commit is run again from its beginning.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

import orjson
import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.string import TextLoader
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from outlast.duty import Failures
from outlast.model.error import Overloaded
from outlast.store.driver import Transaction, TransactionResult
from outlast.store.listeners import Listeners, guard, guarded
from outlast.store.postgres.failure import AWAY, Meaning, error_of, meaning_of
from outlast.store.postgres.migrate import is_current, migrate
from outlast.store.postgres.notifications import NOTIFY, Announcer, Listener
from outlast.store.postgres.order import Order
from outlast.store.postgres.patience import ANSWER_SECONDS, PatientConnection
from outlast.store.postgres.peers import Peers
from outlast.store.postgres.readiness import writable
from outlast.store.postgres.refusal import connecting
from outlast.store.postgres.run import Begin, Enqueue, Run, no_jobs
from outlast.store.postgres.texts import Texts

T = TypeVar("T")
CommitListener: TypeAlias = Callable[[float, int], None]

_ATTEMPTS: Final = 5
_POOL_SECONDS: Final = 3.0
"""How long a caller waits for a connection before the database counts as unavailable."""
_BUSY_SECONDS: Final = 15.0
"""How long it waits if the database answers others meanwhile."""
_CROWD: Final = 2
"""Callers that may wait for each connection before new work is left to wait in the queue."""
_RUNNING_SECONDS: Final = 60.0
"""The same for a running execution: refusing it would mean repeating its step."""
_PREPARED: Final = 500
"""Prepared statements per connection: more than there are texts."""
_UNSENT: Final = (OverflowError, UnicodeError)
"""Python's own errors for a value that cannot be sent."""
_NETWORK: Final = {
    "connect_timeout": "3",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "6000",
    "application_name": "outlast",
}
"""A connection whose peer has vanished is given up within seconds; the URL may override this."""
_SERVER: Final = """
SET tcp_keepalives_idle TO 5; SET tcp_keepalives_interval TO 2; SET tcp_keepalives_count TO 3;
SET tcp_user_timeout TO 6000
"""
"""The server gives up a vanished client as soon: it may hold locks that others need."""
_LONGEST_MILLIS: Final = int(ANSWER_SECONDS * 900)
"""The server's limit for a statement: its error comes before we hang up."""
_LONGEST_STATEMENT: Final = f"""
SELECT set_config('statement_timeout', '{_LONGEST_MILLIS}', false)
WHERE NOT current_setting('statement_timeout')::interval BETWEEN '1 ms' AND '{_LONGEST_MILLIS} ms'
"""
_LONGEST_TRANSACTION: Final = f"SET transaction_timeout TO '{ANSWER_SECONDS:g}s'"
_FROM_17: Final = 170_000
"""First server version with `transaction_timeout`, which also ends transactions of frozen
clients."""


class PostgresDriver:
    """Transactions on one Postgres database that any number of processes share."""

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 10,
        enqueue: Enqueue = no_jobs,
        listen_url: str = "",
        measured: CommitListener | None = None,
        failures: Failures | None = None,
    ) -> None:
        """`enqueue` returns a transaction's changes of the queue: jobs to add or end.

        `listen_url`: another URL of the database that keeps sessions, if `url` does not (pgbouncer
        in transaction mode); migrations use it too, for their lock. `measured` gets the seconds of
        each commit, and 1.
        """
        self._url = conninfo(url)
        self._pool_size = pool_size
        self._enqueue = enqueue
        self._measured = None if measured is None else guard("measured", measured)
        self._texts = Texts()
        self._order = Order()
        self._answered = -_POOL_SECONDS
        self._pool: AsyncConnectionPool | None = None
        self._waiting = 0
        """Callers that wait for a connection."""
        failures = failures or Failures()
        peers = Peers(secrets.token_hex(6))
        self.peers = peers
        self._announcer = Announcer(self._announce, peers, failures)
        self._announced = guard("announced", self._announcer.announce)
        self._direct_url = conninfo(listen_url or url)
        self._listener = Listener(self._direct_url, peers, failures)
        self._listeners: Listeners | None = None

    def listen(self, listeners: Listeners) -> None:
        self._listeners = self._listener.listeners = guarded(listeners)

    def receive(self, channel: str, callback: Callable[[str], None]) -> None:
        """Pass on the payloads of one more channel, too, from `open` on."""
        self._listener.others[channel] = guard("received", callback)

    async def open(self) -> None:
        connection = await self._migrated()
        pool = make_pool(self._url, self._pool_size, _configure)
        await pool.open()
        self._pool = pool
        if self._listeners is None:
            await connection.close()
        else:
            self._listener.start(connection)

    async def _migrated(self) -> PatientConnection:
        """Return a connection to the database, which has this version's schema then."""
        with connecting():
            connection = await PatientConnection.connect(self._direct_url, autocommit=True)
        try:
            if not await is_current(connection):
                await asyncio.to_thread(migrate, self._direct_url)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def close(self) -> None:
        await self._listener.stop()
        await self._announcer.stop()
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    @property
    def listens(self) -> bool:
        """Whether notifications of other processes are being received."""
        return self._listener.listens

    async def write(
        self,
        transaction: Callable[[], Transaction[T]],
        *,
        durable: bool = True,
        of: Sequence[str] = (),
    ) -> T:
        async with self._order.turn(of):
            began = asyncio.get_running_loop().time()
            begin = Begin.DURABLE if durable else Begin.VOLATILE
            busy = _RUNNING_SECONDS if of else _BUSY_SECONDS
            outcome = await self._again(transaction, begin, busy)
            if self._measured is not None:
                self._measured(asyncio.get_running_loop().time() - began, 1)
            self._tell(outcome)
        return outcome.value

    async def read(
        self,
        transaction: Callable[[], Transaction[T]],
        *,
        snapshot: bool = False,
        light: bool = False,
    ) -> T:
        del light  # every connection of the pool may be had
        begin = Begin.SNAPSHOT if snapshot else Begin.NOTHING
        return (await self._again(transaction, begin)).value

    async def ping(self) -> None:
        """Raise Overloaded if the database does not answer or does not accept writes."""
        await self.read(writable)

    @property
    def crowded(self) -> bool:
        """Whether more wait for a connection than a request can wait behind unnoticed."""
        return self._waiting > _CROWD * self._pool_size

    @property
    def joins(self) -> bool:
        """True: each statement and each commit costs a round trip."""
        return True

    def _tell(self, outcome: TransactionResult[Any]) -> None:
        """Pass a commit to the followers of this process, a notification to those of others."""
        if self._listeners is not None:
            for committed in outcome.committed:
                self._listeners.committed(committed)
            for execution in outcome.runnable:
                self._listeners.runnable(execution)
            for execution_id in outcome.cancelled:
                self._listeners.cancelled(execution_id)
            for paused in outcome.paused:
                self._listeners.paused(*paused)
        self._announced(outcome)

    async def _announce(self, payloads: list[str]) -> None:
        async with self._connection() as connection:
            await connection.execute(NOTIFY, (orjson.dumps(payloads).decode(),))

    # --- transactions

    async def _again(
        self,
        transaction: Callable[[], Transaction[T]],
        begin: Begin,
        busy: float = _BUSY_SECONDS,
    ) -> TransactionResult[T]:
        """Run a transaction, and retry it if that is safe. Raises Overloaded, and its errors.

        A retry is safe if it was surely not committed: by the server's error, or no commit was
        sent.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            enqueue = partial(self._enqueue, first=attempt == 1)
            run = Run(transaction(), begin, self._texts, enqueue)
            try:
                async with self._connection(busy) as connection:
                    outcome = await run.run(connection)
                    self._answered = asyncio.get_running_loop().time()
                    return outcome
            except PoolTimeout as error:
                why = "The database is busy." if self._answers() else AWAY
                raise Overloaded(why) from error
            except (psycopg.Error, *_UNSENT) as error:
                meaning = meaning_of(error)
                lost = meaning is Meaning.LOST
                if lost and not (run.hung_up and self._answers()):
                    await self._renew()  # else this one alone got no answer
                again = meaning is Meaning.AGAIN or (lost and not run.committing)
                if attempt == _ATTEMPTS or not again:
                    raise error_of(error, meaning) from error
        raise AssertionError

    async def _renew(self) -> None:
        """Replace every connection: if one has died, the others may have."""
        self._answered = -_POOL_SECONDS
        if self._pool is not None:
            await self._pool.drain()

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
        """Return a connection of the pool, waiting as long as the database answers others."""
        loop = asyncio.get_running_loop()
        until = loop.time() + busy
        self._waiting += 1
        try:
            while True:
                try:
                    return await pool.getconn(_POOL_SECONDS)
                except PoolTimeout:
                    if not self._answers() or loop.time() >= until:
                        raise
        finally:
            self._waiting -= 1

    def _answers(self) -> bool:
        """Whether the database has answered lately: then waiting callers are only queued."""
        return asyncio.get_running_loop().time() - self._answered < _POOL_SECONDS


async def _configure(connection: AsyncConnection[Any]) -> None:
    """Send and receive JSON as text, as everywhere."""
    await connection.set_autocommit(True)
    newer = connection.info.server_version >= _FROM_17
    settings = [_SERVER, *([_LONGEST_TRANSACTION] if newer else []), _LONGEST_STATEMENT]
    await connection.execute(";".join(settings))
    connection.adapters.register_loader("jsonb", TextLoader)
    connection.prepared_max = _PREPARED


def make_pool(
    url: str, size: int, configure: Callable[[AsyncConnection[Any]], Awaitable[None]]
) -> AsyncConnectionPool:
    """Return a pool of at most `size` connections, each opened when first needed."""
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
    """Return the URL with our network timeouts, unless it has its own.

    Raises Misconfigured for an invalid URL.
    """
    with connecting():
        given = conninfo_to_dict(url)
    return make_conninfo(url, **{k: v for k, v in _NETWORK.items() if k not in given})
