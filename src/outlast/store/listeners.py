"""Callbacks that run after each commit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, ParamSpec

import structlog

from outlast.model.event import Entry
from outlast.model.execution import Execution, PauseRequest, Step

P = ParamSpec("P")

logger = structlog.get_logger(__name__)


class Committed(NamedTuple):
    """What the followers of an execution get after its commit."""

    execution_id: str
    entries: tuple[Entry, ...]
    execution: Execution | None = None
    """The row after this commit; None if only text was added."""
    steps: tuple[Step, ...] | None = None
    """Of one that its segment has ended: the steps that the segment knows, in order, and which may
    not be all."""


@dataclass(frozen=True, slots=True)
class Listeners:
    """Callbacks for commits, on the event loop, in commit order."""

    committed: Callable[[Committed], None]
    """Called for each commit; those of other processes come without the row, some without
    entries."""
    runnable: Callable[[Execution], None]
    """A segment of this execution may start (on SQLite; on Postgres the queue's table has a
    job)."""
    begun: Callable[[Execution], None] = lambda _: None
    """A commit of this process has begun the first segment of this execution, which it runs."""
    requested: Callable[[str], None] = lambda _: None
    """Another process has left a request for the process that runs this execution."""
    cancelled: Callable[[str], object] = lambda _: None
    """This process has requested to cancel a running execution."""
    missed: Callable[[], None] = lambda: None
    """Notifications of commits of other processes may have been lost."""
    lease_released: Callable[[], None] = lambda: None
    """The leader of maintenance has left: another process may lead."""
    paused: Callable[[str, PauseRequest], object] = lambda *_: None
    """This process has requested to pause a running execution."""


def guarded(listeners: Listeners) -> Listeners:
    """Return the same listeners, with errors logged instead of raised.

    A listener's error must not affect the commit, which stands, or its waiting writers.
    """
    return Listeners(
        guard("committed", listeners.committed),
        guard("runnable", listeners.runnable),
        guard("begun", listeners.begun),
        guard("requested", listeners.requested),
        guard("cancelled", listeners.cancelled),
        guard("missed", listeners.missed),
        guard("lease_released", listeners.lease_released),
        guard("paused", listeners.paused),
    )


def guard(name: str, listener: Callable[P, object]) -> Callable[P, None]:
    """Return a listener that logs errors of this one."""

    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            listener(*args, **kwargs)
        except Exception:  # whatever it raises, the commit stands
            logger.exception("listener.failed", listener=name)

    return call
