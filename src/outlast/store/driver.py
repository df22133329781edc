"""The driver of a database, and the transactions that it runs.

A transaction is a generator without I/O: it yields statements, receives their rows, and returns a
TransactionResult. A driver runs it inside one transaction of the database, on SQLite in the
writer's thread and on Postgres over an async connection, so what it does is written once.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
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

    @property
    def inserts(self) -> bool:
        """Whether it adds rows that are all in its parameters, and returns none."""
        return isinstance(self.clause, Insert) and self.clause.select is None and not self.answers

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


PING: Final = Statement(select(literal_column("1")))


T = TypeVar("T")


class Query(NamedTuple):
    """One statement with its parameters."""

    statement: Statement
    parameters: dict[str, Any]


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


Part: TypeAlias = Generator[Query, list[Row], T]
"""A part of a transaction."""


Transaction: TypeAlias = Generator[Query, list[Row], TransactionResult[T]]
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
