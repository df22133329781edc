"""Examines a Postgres database, its server and the connection to it, for `outlast doctor`.

Each function makes its own connections and changes nothing.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final, LiteralString

import psycopg
from psycopg import AsyncConnection, errors, sql
from psycopg.rows import args_row

from outlast.model.error import Misconfigured, Overloaded
from outlast.store.postgres.driver import conninfo
from outlast.store.postgres.migrate import compatibility, version
from outlast.store.postgres.refusal import Reason, Refusal, line_of, refusal_of

_LISTEN_SECONDS: Final = 2.0
_POOLER_SECONDS: Final = 3.0
"""How long a pooler may take to provide another connection."""
_SECONDS: Final = 15.0
"""How long a query may take."""

_SERVER: Final = """
SELECT current_setting('server_version'),
    current_setting('server_encoding'),
    current_setting('transaction_read_only') = 'on',
    current_setting('fsync') = 'on' AND current_setting('synchronous_commit') <> 'off',
    current_user::text,
    current_schema()::text,
    coalesce(has_schema_privilege(current_schema(), 'CREATE'), false),
    coalesce(has_table_privilege(to_regclass('executions'), 'UPDATE'), true),
    (SELECT count(*) FROM pg_stat_activity
        WHERE datid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'),
    current_setting('max_connections')::bigint
        - current_setting('superuser_reserved_connections')::bigint
        - coalesce(current_setting('reserved_connections', true), '0')::bigint,
    current_database() || ' ' || pg_postmaster_start_time()
"""
_CLOCK: Final = "SELECT extract(epoch FROM clock_timestamp()) * 1000"


@dataclass(frozen=True, slots=True)
class Server:
    """Properties of a database and its server."""

    version: str
    encoding: str
    read_only: bool
    durable: bool
    """Whether a commit is on disk when it is confirmed."""
    user: str
    schema: str | None
    """Schema in which tables are created; None if the search path has none."""
    may_create: bool
    """Whether tables may be created in that schema."""
    may_write: bool
    """Whether all existing tables of Outlast may be written."""
    connections: int
    places: int
    """Maximum connections of ordinary users."""
    identity: str
    """Identifies the database: equal through two URLs of one database."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The migrations that a database has."""

    version: str | None
    """The newest migration; None for an empty database."""
    oldest: str | None
    """Oldest schema version whose code still works on it."""


class Pooling(Enum):
    """Kind of pooler between us and the server."""

    NONE = auto()
    """None: each connection keeps its session."""
    GOOD = auto()
    """A pooler in transaction mode that keeps prepared statements."""
    FORGETFUL = auto()
    """A pooler in transaction mode that loses them."""
    FULL = auto()
    """A pooler without a second connection to the server."""


async def look(url: str) -> Server | Refusal:
    """Connect and return the server's properties."""
    try:
        async with (
            asyncio.timeout(_SECONDS),
            await AsyncConnection.connect(conninfo(url)) as connection,
        ):
            cursor = connection.cursor(row_factory=args_row(Server))
            found = await (await cursor.execute(_SERVER)).fetchone()
    except Misconfigured as error:
        return Refusal(Reason.URL, error.message)
    except psycopg.OperationalError as error:
        return refusal_of(error)
    except TimeoutError:
        return Refusal(Reason.AWAY, f"no answer within {_SECONDS:g} s")
    assert found is not None
    return found


async def schema_of(url: str) -> Schema:
    """Return the schema of the database. Raises Overloaded."""
    return await asyncio.to_thread(_schema_of, url)


def _schema_of(url: str) -> Schema:
    try:
        with psycopg.connect(conninfo(url), autocommit=True) as connection:
            return Schema(version(connection), compatibility(connection))
    except psycopg.Error as error:
        raise Overloaded(line_of(error)) from error


async def skew(url: str, now: Callable[[], int]) -> int:
    """Return how far the database's clock is ahead of ours, in ms, less half a round trip.

    Raises Overloaded.
    """
    async with _connections(url) as (connection,):
        began = now()
        (theirs,) = await _row(connection, _CLOCK)
        return int(theirs) - (began + now()) // 2


async def listens(url: str, through: str) -> bool:
    """Whether a notification sent through one URL reaches a connection through the other.

    One connection that notifies itself would succeed through a pooler too. Raises Overloaded.
    """
    channel = f"outlast_doctor_{secrets.token_hex(6)}"
    async with _connections(url, through) as (listening, speaking):
        await listening.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        await speaking.execute("SELECT pg_notify(%s, '')", (channel,))
        async for _ in listening.notifies(timeout=_LISTEN_SECONDS, stop_after=1):
            return True
        await listening.execute(sql.SQL("UNLISTEN {}").format(sql.Identifier(channel)))
        return False


async def pooling(url: str) -> Pooling:
    """Return the kind of pooler, by two concurrent sessions. Raises Overloaded."""
    mark = secrets.token_hex(6)  # a statement of another time may have the same name
    query = sql.SQL("SELECT pg_backend_pid(), {}").format(mark)
    async with _connections(url, url) as (ours, other):
        try:
            before = await _row(ours, query, prepare=True)
            async with other.transaction():
                await other.execute("SELECT 1")
                async with asyncio.timeout(_POOLER_SECONDS):
                    after = await _row(ours, query, prepare=True)
        except (errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement):
            return Pooling.FORGETFUL
        except TimeoutError:
            return Pooling.FULL
    if after == before:
        return Pooling.NONE
    return Pooling.GOOD if after[1] == mark else Pooling.FORGETFUL


async def _row(
    connection: AsyncConnection[Any], query: LiteralString | sql.Composed, *, prepare: bool = False
) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = await (
        await connection.execute(query, prepare=prepare)
    ).fetchone()
    assert row is not None
    return row


@asynccontextmanager
async def _connections(*urls: str) -> AsyncIterator[list[AsyncConnection[Any]]]:
    try:
        async with asyncio.timeout(_SECONDS), AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(
                    await AsyncConnection.connect(conninfo(url), autocommit=True)
                )
                for url in urls
            ]
    except psycopg.Error as error:
        raise Overloaded(line_of(error)) from error
    except TimeoutError as error:
        raise Overloaded(f"no answer within {_SECONDS:g} s") from error
