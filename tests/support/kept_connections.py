"""Connections to the tests' Postgres that one server of this process has after another.

A new session of Postgres reads the catalogs that its statements need, which is a third of what a
test costs there. So one to a database that several tests have in turn (see `recycling`) is reset
when it is closed, and given to the next that connects with the same parameters, as by a pooler in
session mode: https://www.pgbouncer.org/features.html.
"""

import functools
import select
from collections import defaultdict
from collections.abc import Generator
from typing import Any, Final

from psycopg import AsyncConnection, BaseConnection, Connection
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import ConnStatus, ExecStatus, PGconn, PipelineStatus, TransactionStatus
from psycopg.pq.abc import PGconn as Session

_RESET: Final = b"DISCARD ALL"
"""Ends what a session has of its own: settings, locks, channels, statements."""
_IDLE: Final = (ConnStatus.OK, TransactionStatus.IDLE, PipelineStatus.OFF)
_MADE_WITH: Final = "_made_with"
"""The attribute of a connection that has its parameters."""

_databases: Final[set[str]] = set()
_idle: Final[defaultdict[str, list[Session]]] = defaultdict(list)
"""By parameters."""


def keep(database: str) -> None:
    """Keep connections to a database from now on."""
    _patch()
    _databases.add(database)


def end(database: str) -> None:
    """Close those to a database, and keep none any more."""
    _databases.discard(database)
    for parameters in [one for one in _idle if _database_of(one) == database]:
        for session in _idle.pop(parameters):
            session.finish()


def sessions(database: str) -> list[int]:
    """Return the process ids of the idle sessions at a database."""
    return [
        session.backend_pid
        for parameters, idle in _idle.items()
        if _database_of(parameters) == database
        for session in idle
    ]


@functools.cache
def _patch() -> None:
    """Let psycopg look here before it connects, and offer what it closes."""
    base: Any = BaseConnection  # its types do not foresee that a method is replaced
    blocking: Any = Connection
    awaited: Any = AsyncConnection
    connect = vars(base)["_connect_gen"].__func__
    close, close_awaited = blocking.close, awaited.close

    def connect_or_take(cls: Any, conninfo: str = "") -> Generator[Any, Any, Any]:
        session = _taken(conninfo)
        connection = (yield from connect(cls, conninfo)) if session is None else cls(session)
        setattr(connection, _MADE_WITH, conninfo)
        return connection

    def close_or_keep(self: Any) -> None:
        if not _kept(self):
            close(self)

    async def close_or_keep_awaited(self: Any) -> None:
        if not _kept(self):
            await close_awaited(self)

    base._connect_gen = classmethod(connect_or_take)
    blocking.close, awaited.close = close_or_keep, close_or_keep_awaited


def _taken(parameters: str) -> Session | None:
    """Return an idle session that lives; None if there is none."""
    idle = _idle.get(parameters, [])
    while idle:
        session = idle.pop()
        if not _readable(session):  # else its end is to be read
            return session
        session.finish()
    return None


def _readable(session: Session) -> bool:
    poll = select.poll()
    poll.register(session.socket, select.POLLIN)
    return bool(poll.poll(0))


def _kept(connection: Any) -> bool:
    """Reset the session of a connection and keep it; return False if that cannot be."""
    parameters = getattr(connection, _MADE_WITH, None)
    if parameters is None or _database_of(parameters) not in _databases:
        return False
    session: Session = connection.pgconn
    if (session.status, session.transaction_status, session.pipeline_status) != _IDLE:
        return False
    session.notice_handler = session.notify_handler = None
    if session.exec_(_RESET).status != ExecStatus.COMMAND_OK:
        return False
    while session.notifies():
        pass
    connection._closed = True
    connection.pgconn = _closed()
    _idle[parameters].append(session)
    return True


@functools.cache
def _closed() -> Session:
    """Return what a closed connection has for its session."""
    session: Session = PGconn.connect_start(b"")
    session.finish()
    return session


@functools.cache
def _database_of(parameters: str) -> str:
    return str(conninfo_to_dict(parameters).get("dbname", ""))
