"""Transactions without I/O: each yields statements, hears their rows, and returns an Outcome.

A driver runs a script inside one transaction, on SQLite in the writer's thread and on Postgres over
an async connection, so that what a transaction does is written once.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from outlast.model.execution import Execution
from outlast.store.listeners import Committed
from outlast.store.statements import Statement

T = TypeVar("T")


class Query(NamedTuple):
    """One statement with its parameters."""

    statement: Statement
    parameters: dict[str, Any]


Row: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What a script answers, and who is to hear of it once it is committed."""

    value: T
    committed: tuple[Committed, ...] = ()
    runnable: tuple[Execution, ...] = ()
    """Executions whose next segment is to be enqueued in this same transaction."""
    requested: tuple[str, ...] = ()
    """Executions whose worker, wherever it is, is to hear that somebody left word for it."""
    erased: bool = False
    """Content was deleted that must not linger in the database's files either."""
    lease_released: bool = False
    """The process that led maintenance leads no more; the others are notified."""


Steps: TypeAlias = Generator[Query, list[Row], T]
"""A piece of a transaction."""

Script: TypeAlias = Generator[Query, list[Row], Outcome[T]]
"""A whole transaction."""
