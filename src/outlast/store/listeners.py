"""Who hears what happens in the store."""

from collections.abc import Callable
from dataclasses import dataclass

from outlast.model.event import Entry
from outlast.model.execution import Execution


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
