"""Handles of tool calls that the tool's server works on by itself, from the log."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import literal_column, select

from outlast.model.event import (
    ApprovalRequested,
    Event,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionResumed,
    ToolDeferred,
    ToolFinished,
    ToolStarted,
)
from outlast.model.event_codec import decode
from outlast.store.driver import Query, Statement, Transaction, TransactionResult
from outlast.store.executions.statements import OWNED
from outlast.store.executions.tables import events

_READ: Final = (
    ToolDeferred,
    ToolStarted,
    ToolFinished,
    ApprovalRequested,
    ExecutionResumed,
    ExecutionCancelled,
    ExecutionFailed,
)

DEFERRED: Final = Statement(
    select(events.c.seq)
    .where(
        events.c.execution_id == OWNED,
        events.c.kind == literal_column(f"'{ToolDeferred.kind}'"),
    )
    .limit(literal_column("1"))
)
"""Selects whether an execution has ever had a handle."""

OF_CALLS: Final = Statement(
    select(events.c.kind, events.c.data)
    .where(
        events.c.execution_id == OWNED,
        events.c.kind.in_([literal_column(f"'{event.kind}'") for event in _READ]),
    )
    .order_by(events.c.seq)
)
"""Selects the events that say which of its handles are of use; read only where there are any."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """A call that its tool's server works on by itself."""

    name: str
    """The tool's name."""
    handle: dict[str, Any]
    """By which the result is found."""


@dataclass(slots=True)
class HandlesOfLog:
    """The handles of an execution, as its log has them up to an entry."""

    open: dict[str, Deferred] = field(default_factory=dict)
    """By tool call; those of calls without a result that go on."""
    unwanted: dict[str, Deferred] = field(default_factory=dict)
    """Those of calls that were open when the execution last ended, or was last rolled back, and do
    not go on."""
    _names: dict[str, str] = field(default_factory=dict)

    def add(self, event: Event) -> None:
        """Read the next event."""
        match event:
            case ToolDeferred(tool_call_id=call_id, handle=handle):
                self.open[call_id] = Deferred(self._names.get(call_id, ""), handle)
            case ToolStarted() | ApprovalRequested() if (
                getattr(event, "execution_id", None) is None
            ):
                self._names[event.tool_call_id] = event.name
                if event.tool_call_id in self.unwanted:  # a resumed execution shows it again
                    self.open[event.tool_call_id] = self.unwanted.pop(event.tool_call_id)
            case ToolFinished(tool_call_id=call_id, execution_id=None):
                self.open.pop(call_id, None)
            case ExecutionResumed():
                self.unwanted, self.open = self.open, {}
            case ExecutionCancelled() | ExecutionFailed():
                self.unwanted, self.open = self.open, {}
            case _:
                pass


def handles_of(log: Iterable[Event]) -> HandlesOfLog:
    """Return the handles after these events."""
    found = HandlesOfLog()
    for event in log:
        found.add(event)
    return found


def read_handles(workspace_id: str, execution_id: str) -> Transaction[HandlesOfLog]:
    """Read the handles of an execution."""
    of = {"id": execution_id, "workspace": workspace_id}
    if not (yield Query(DEFERRED, of)):
        return TransactionResult(HandlesOfLog())
    rows = yield Query(OF_CALLS, of)
    return TransactionResult(handles_of(decode(row[0], row[1]) for row in rows))
