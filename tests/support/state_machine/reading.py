"""What the log of one execution says, read from its start."""

from dataclasses import dataclass, field
from typing import Any

from outlast.model.event import (
    ApprovalRequested,
    ApprovalResolved,
    ChildFinished,
    ChildStarted,
    Event,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionCreated,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionReleased,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionSuspended,
    ModelFinished,
    ToolFinished,
    ToolStarted,
)


@dataclass(slots=True)
class Reading:
    """What a log says, read from its start."""

    status: str = "queued"
    models: dict[int, ModelFinished] = field(default_factory=dict)
    """Finished model steps that stand."""
    tools: dict[int, ToolFinished] = field(default_factory=dict)
    """Finished tool steps that stand."""
    charged: int = 0
    """Tokens of every finished model step and of every request that a pause has closed."""
    open: dict[str, ApprovalRequested] = field(default_factory=dict)
    """Questions without an answer."""
    below: dict[str, ApprovalRequested] = field(default_factory=dict)
    """Questions without an answer of executions below this one."""
    children: dict[str, ChildStarted] = field(default_factory=dict)
    """The children of calls that stand and have no result, by call."""
    requested: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What each call that needed a decision runs with."""
    approved: set[str] = field(default_factory=set)
    calls: dict[int, str] = field(default_factory=dict)
    """Which call every number meant."""
    started: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What each call was started with, every time."""

    def add(self, event: Event) -> None:
        """Take the next event into account."""
        match event:
            case ApprovalRequested() | ApprovalResolved() if event.execution_id is not None:
                self._add_below(event)
            case ToolFinished() if event.execution_id is not None:
                pass  # of a call below that a person has decided
            case ModelFinished():
                self.models[event.step] = event
                self.charged += event.usage.total_tokens
            case ChildStarted():
                self._mean(event.step, event.tool_call_id)
                self.children[event.tool_call_id] = event
            case ChildFinished():
                assert self.children.pop(event.tool_call_id).execution_id == event.execution_id
            case ToolStarted():
                self._mean(event.step, event.tool_call_id)
                if event.tool_call_id in self.requested:
                    assert event.tool_call_id in self.approved
                    assert event.parameters == self.requested[event.tool_call_id]
                self.started.setdefault(event.tool_call_id, []).append(event.parameters)
            case ToolFinished():
                self.tools[event.step] = event
                self.open.pop(event.tool_call_id, None)
            case ApprovalRequested():
                self._mean(event.step, event.tool_call_id)
                self.open[event.tool_call_id] = event
                self.requested[event.tool_call_id] = event.parameters
                self.approved.discard(event.tool_call_id)
            case ApprovalResolved():
                self._resolve(event)
            case _:
                self._move(event)

    def _add_below(self, event: ApprovalRequested | ApprovalResolved) -> None:
        if isinstance(event, ApprovalRequested):
            self.below[event.tool_call_id] = event
        else:
            del self.below[event.tool_call_id]

    def _resolve(self, event: ApprovalResolved) -> None:
        del self.open[event.tool_call_id]
        if event.approved:
            self.approved.add(event.tool_call_id)
        if event.parameters is not None:
            self.requested[event.tool_call_id] = event.parameters

    def _mean(self, step: int, call_id: str) -> None:
        assert self.calls.setdefault(step, call_id) == call_id, "one number, two calls"

    def _move(self, event: Event) -> None:
        match event:
            case ExecutionCreated() | ExecutionReleased():
                self.status = "queued"
            case ExecutionStarted():
                self.status = "running"
            case ExecutionSuspended():
                self.status = "suspended" if self.open or self.children else "queued"
            case ExecutionPaused():
                self.status = "paused"
                self.charged += event.input_tokens + event.output_tokens
            case ExecutionResumed():
                self.status = "queued"
                self.open.clear()
                for kept in (self.children, self.below):
                    for call in [call for call, e in kept.items() if event.voids(e.step)]:
                        del kept[call]
                self.models = {n: e for n, e in self.models.items() if not event.voids(n)}
                self.tools = {n: e for n, e in self.tools.items() if not event.voids(n)}
            case ExecutionCompleted():
                self.status = "completed"
            case ExecutionFailed():
                self.status = "failed"
            case ExecutionCancelled():
                self.status = "cancelled"
            case _:
                pass
