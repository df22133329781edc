"""The driver of a database, and the transactions that it runs.

A transaction is a generator without I/O: it yields statements, receives their rows, and returns a
TransactionResult. A driver runs it inside one transaction of the database, on SQLite in the
writer's thread and on Postgres over an async connection, so what it does is written once.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from sqlalchemy import literal_column, select
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.expression import (
    ClauseElement,
    ColumnElement,
    Delete,
    Executable,
    Insert,
    SelectBase,
    Update,
)

from outlast.model.execution import Execution, PauseRequest
from outlast.store.listeners import Committed, Listeners


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One statement; identity is its cache key."""

    made: Executable | Callable[[], Executable]
    """The statement, or what makes it when it is first used: no process uses all of them."""

    independent: bool = field(default=False, kw_only=True)
    """Whether it changes only rows that no other statement of its transaction reads or changes."""
    apart: "tuple[Statement, Statement] | None" = field(default=None, kw_only=True)
    """What SQLite runs in its place: a query for what it returns and does not change, and, if that
    finds a row, the change. A RETURNING costs SQLite a temporary table, more than the query."""

    @property
    def clause(self) -> Executable:
        """What SQLAlchemy compiles."""
        return self.made if isinstance(self.made, Executable) else _made(self.made)

    @property
    def joins(self) -> bool:
        """Whether Postgres may join it with adjacent statements.

        True if it inserts rows given by parameters only, or is independent; and returns no rows.
        """
        inserts = isinstance(self.clause, Insert) and self.clause.select is None
        return (inserts or self.independent) and not self.answers

    @property
    def answers(self) -> bool:
        """Whether it returns rows."""
        return isinstance(self.clause, SelectBase) or bool(getattr(self.clause, "_returning", ()))

    def compiled(self, dialect: Dialect) -> tuple[str, dict[str, Any]]:
        """Return its text for a database, and its constant values; compiled once in a process."""
        return _compiled(self, _Dialect(dialect.name, dialect.paramstyle, dialect))


@dataclass(frozen=True, slots=True, eq=False)
class BatchStatement(Statement):
    """A statement that Postgres runs once for many sets of parameters."""

    arrays: Executable
    """The same statement with arrays as parameters, one element per set."""

    @property
    def answers(self) -> bool:
        """Both return the same rows."""
        return Statement(self.made).answers


def query_and_change(
    change: Update | Delete, *columns: ColumnElement[Any]
) -> tuple[Statement, Statement]:
    """Return `Statement.apart` of a change that returns these columns."""
    where = change.whereclause
    assert where is not None
    return Statement(select(*columns).where(where)), Statement(change)


@cache
def _made(make: Callable[[], Executable]) -> Executable:
    return make()


@dataclass(frozen=True, slots=True)
class _Dialect:
    """A database's dialect; two of one name and style compile alike."""

    name: str
    paramstyle: str
    dialect: Dialect = field(compare=False)


@lru_cache(maxsize=1024)
def _compiled(statement: Statement, of: _Dialect) -> tuple[str, dict[str, Any]]:
    assert isinstance(statement.clause, ClauseElement)
    compiled = statement.clause.compile(dialect=of.dialect)
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return str(compiled), constants


PING: Final = Statement(select(literal_column("1")))


T = TypeVar("T")


class Query(NamedTuple):
    """One statement with its parameters."""

    statement: Statement
    parameters: dict[str, Any]


class Batch(NamedTuple):
    """One statement with many sets of parameters; the result is the rows of all."""

    statement: BatchStatement
    parameters: tuple[dict[str, Any], ...]
    alone: bool = False
    """Whether it is the only one of its transaction."""


class Together(NamedTuple):
    """Statements that are independent of each other's results.

    The result is one row per statement: its rows.
    """

    queries: tuple[Query | Batch, ...]


class Guarded(NamedTuple):
    """A statement and, if it returned a row, a second one; the result is the rows of the first.

    It is the only one of its transaction.
    """

    first: Query
    second: "Callable[[Row], Query]"
    """Makes the second query from the first's row; it returns no rows."""
    whole: Query
    """Both as a single statement, for Postgres."""


Request: TypeAlias = Query | Together | Batch | Guarded
Row: TypeAlias = tuple[Any, ...]


class TransactionResult(NamedTuple, Generic[T]):
    """What a transaction returns, and the notifications that follow its commit."""

    value: T
    committed: tuple[Committed, ...] = ()
    runnable: tuple[Execution, ...] = ()
    """Executions whose next segment is to be enqueued in this same transaction."""
    begun: tuple[Execution, ...] = ()
    """Executions whose first segment this same transaction has begun, for this process."""
    requested: tuple[str, ...] = ()
    """Executions whose worker, in any process, is notified of a request."""
    cancelled: tuple[str, ...] = ()
    """Running executions requested to cancel: their segments stop, in this process or another."""
    paused: tuple[tuple[str, PauseRequest], ...] = ()
    """The same of those requested to pause."""
    erased: bool = False
    """Whether content was deleted that must be erased from the database's files too."""
    lease_released: bool = False
    """Whether the leader of maintenance has left; the others are notified."""


Part: TypeAlias = Generator[Request, list[Row], T]
"""A part of a transaction."""


Transaction: TypeAlias = Generator[Request, list[Row], TransactionResult[T]]
"""A whole transaction."""


class Driver(Protocol):
    """Runs transactions on one database."""

    def listen(self, listeners: Listeners) -> None:
        """Set the callbacks that run after each commit."""
        ...

    async def open(self) -> None:
        """Connect and migrate."""
        ...

    async def close(self) -> None:
        """Commit waiting transactions and disconnect."""
        ...

    async def write(
        self,
        transaction: Callable[[], Transaction[T]],
        *,
        durable: bool = True,
        of: Sequence[str] = (),
    ) -> T:
        """Run a transaction; it is on disk when this returns.

        Without `durable` it survives a crash of the process, not of the machine. The generator is
        created anew for each attempt. Writes `of` the same execution take effect in the order of
        the calls.
        """
        ...

    async def read(
        self,
        transaction: Callable[[], Transaction[T]],
        *,
        snapshot: bool = False,
        light: bool = False,
    ) -> T:
        """Run a transaction that only reads; with `snapshot` all its statements see the same state.

        `light`: a small read, as in every request, which does not wait behind heavy reads.
        """
        ...

    async def ping(self) -> None:
        """Return when the database answers. Raises Overloaded."""
        ...

    @property
    def crowded(self) -> bool:
        """Whether so many callers wait for the database that new work had better wait too."""
        ...

    @property
    def joins(self) -> bool:
        """Whether moves of several executions are cheaper in one transaction.

        False if transactions that wait are committed together anyway.
        """
        ...


def ping() -> Transaction[None]:
    """A transaction that reads nothing."""
    yield Query(PING, {})
    return TransactionResult(None)
