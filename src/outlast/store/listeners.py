"""Who hears what happens in the store."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec

import structlog

from outlast.model.event import Entry
from outlast.model.execution import Execution

P = ParamSpec("P")

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Committed:
    """Heard by those who follow an execution, after its commit."""

    execution_id: str
    entries: tuple[Entry, ...]
    execution: Execution | None = None
    """The row as this commit left it; None where only text was added."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Who hears of commits, on the event loop, in commit order."""

    committed: Callable[[Committed], None]
    """Commits of other processes come without the row, and sometimes without their entries."""
    runnable: Callable[[Execution], None]
    """A segment of this execution may start (SQLite; on Postgres the queue's own table says so)."""
    requested: Callable[[str], None] = lambda _: None
    """Another process left word for whoever runs this execution."""
    missed: Callable[[], None] = lambda: None
    """Commits of other processes may have gone unheard."""
    lease_released: Callable[[], None] = lambda: None
    """The process that led maintenance has left: another may lead."""


def guarded(listeners: Listeners) -> Listeners:
    """Return the same listeners with their errors logged instead of raised.

    What a listener raises is its own mistake: the commit stands, and its writers wait for it.
    """
    return Listeners(
        guard("committed", listeners.committed),
        guard("runnable", listeners.runnable),
        guard("requested", listeners.requested),
        guard("missed", listeners.missed),
        guard("lease_released", listeners.lease_released),
    )


def guard(name: str, listener: Callable[P, None]) -> Callable[P, None]:
    """Return a listener that logs what this one raises."""

    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            listener(*args, **kwargs)
        except Exception:  # whatever it is, it is not the commit's
            logger.exception("listener.failed", listener=name)

    return call
