"""The driver of a database, and the transactions that it runs.

A transaction is a generator without I/O: it yields statements, receives their rows, and returns a
TransactionResult. A driver runs it inside one transaction of the database, on SQLite in the
writer's thread and on Postgres over an async connection, so what it does is written once.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from sqlalchemy import literal_column, select
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.expression import ClauseElement, Executable, Insert, SelectBase

from outlast.model.execution import Execution
from outlast.store.listeners import Committed, Listeners


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One statement; identity is its cache key."""

    clause: Executable

    independent: bool = field(default=False, kw_only=True)
    """It changes what no other statement of its transaction reads or changes."""

    @property
    def joins(self) -> bool:
        """Whether Postgres may run it as one statement with its neighbours.

        It adds rows that are all in its parameters, or is independent; and it returns none.
        """
        inserts = isinstance(self.clause, Insert) and self.clause.select is None
        return (inserts or self.independent) and not self.answers

    @property
    def answers(self) -> bool:
        """Whether it returns rows."""
        return isinstance(self.clause, SelectBase) or bool(getattr(self.clause, "_returning", ()))

    def compiled(self, dialect: Dialect) -> tuple[str, dict[str, Any]]:
        """Its text for a database, and the values that are part of it."""
        assert isinstance(self.clause, ClauseElement)
        compiled = self.clause.compile(dialect=dialect)
        constants = {name: value for name, value in compiled.params.items() if value is not None}
        return str(compiled), constants


@dataclass(frozen=True, slots=True, eq=False)
class BatchStatement(Statement):
    """A statement that Postgres runs once for many sets of parameters."""

    arrays: Executable
    """The same; each parameter is an array with one element for each set."""

    @property
    def answers(self) -> bool:
        """Both return the same rows."""
        return Statement(self.clause).answers


PING: Final = Statement(select(literal_column("1")))


T = TypeVar("T")


class Query(NamedTuple):
    """One statement with its parameters."""

    statement: Statement
    parameters: dict[str, Any]


class Together(NamedTuple):
    """Statements of which none needs what another returns.

    Answered by one row for each: the rows that it returned.
    """

    queries: tuple[Query, ...]


class Batch(NamedTuple):
    """One statement with many sets of parameters, answered by the rows of all.

    It is the only one of its transaction.
    """

    statement: "BatchStatement"
    parameters: tuple[dict[str, Any], ...]


class Guarded(NamedTuple):
    """A statement and, if it returned a row, a second one; answered by the rows of the first.

    It is the only one of its transaction.
    """

    first: Query
    second: "Callable[[Row], Query]"
    """What follows, given the first's row; it returns none."""
    whole: Query
    """Both as one statement, for Postgres."""


Request: TypeAlias = Query | Together | Batch | Guarded
Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class TransactionResult(Generic[T]):
    """What a transaction returns, and the notifications that follow its commit."""

    value: T
    committed: tuple[Committed, ...] = ()
    runnable: tuple[Execution, ...] = ()
    """Executions whose next segment is to be enqueued in this same transaction."""
    requested: tuple[str, ...] = ()
    """Executions whose worker, in whichever process, is notified of a request."""
    erased: bool = False
    """Content was deleted that must not linger in the database's files either."""
    lease_released: bool = False
    """The process that led maintenance leads no more; the others are notified."""


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
        """Commit what waits and disconnect."""
        ...

    async def write(
        self,
        transaction: Callable[[], Transaction[T]],
        *,
        durable: bool = True,
        of: Sequence[str] = (),
    ) -> T:
        """Run a transaction that is on disk when this returns.

        Without `durable` it survives the death of the process, not of the machine. It is made anew
        for each attempt. Writes `of` the same execution take effect in the order of the calls.
        """
        ...

    async def read(
        self,
        transaction: Callable[[], Transaction[T]],
        *,
        snapshot: bool = False,
        light: bool = False,
    ) -> T:
        """Run a transaction that only reads; with `snapshot` all its statements see one moment.

        `light`: it reads little, as every request does, and does not wait behind heavy reads.
        """
        ...

    async def ping(self) -> None:
        """Return when the database answers. Raises Overloaded."""
        ...


def ping() -> Transaction[None]:
    """Read nothing."""
    yield Query(PING, {})
    return TransactionResult(None)
