"""What the log of one execution says, read from its start."""

from dataclasses import dataclass, field
from typing import Any, TypeVar

from outlast.model.client_call import ClientCallAnswered, ClientCallRequested
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

_OfStep = TypeVar("_OfStep", ApprovalRequested, ChildStarted, ClientCallRequested)


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
    client: dict[str, ClientCallRequested] = field(default_factory=dict)
    """Calls that the client is to run, or to collect input for."""
    client_below: dict[str, ClientCallRequested] = field(default_factory=dict)
    """Those of executions below this one."""
    answered: set[str] = field(default_factory=set)
    """Of both, the calls of the client that have a result, or need none any more."""
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
            case ClientCallRequested() | ClientCallAnswered():
                self._add_client_call(event)
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
                assert event.tool_call_id not in self.client
            case ApprovalRequested():
                self._mean(event.step, event.tool_call_id)
                assert event.tool_call_id not in self.client
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

    def _add_client_call(self, event: ClientCallRequested | ClientCallAnswered) -> None:
        open_calls = self.client if event.execution_id is None else self.client_below
        if isinstance(event, ClientCallAnswered):
            if open_calls.pop(event.tool_call_id).input is None:
                self.answered.add(event.tool_call_id)
            return
        self.answered.discard(event.tool_call_id)
        assert event.tool_call_id not in open_calls
        open_calls[event.tool_call_id] = event
        if event.execution_id is None:
            self._mean(event.step, event.tool_call_id)
            assert event.parameters in self.started[event.tool_call_id]

    def _resolve(self, event: ApprovalResolved) -> None:
        del self.open[event.tool_call_id]
        if event.approved:
            self.approved.add(event.tool_call_id)
        if event.parameters is not None:
            self.requested[event.tool_call_id] = event.parameters

    def _mean(self, step: int, call_id: str) -> None:
        assert self.calls.setdefault(step, call_id) == call_id, "one number, two calls"

    @property
    def _waits(self) -> bool:
        return bool(self.open or self.client or self.children)

    def _move(self, event: Event) -> None:
        match event:
            case ExecutionCreated() | ExecutionReleased():
                self.status = "queued"
            case ExecutionStarted():
                self.status = "running"
            case ExecutionSuspended():
                self.status = "suspended" if self._waits else "queued"
            case ExecutionPaused():
                self.status = "paused"
                self.charged += event.input_tokens + event.output_tokens
            case ExecutionResumed():
                self.status = "queued"
                self.open.clear()
                self.client.clear()
                self.children = _kept(self.children, event)
                self.below = _kept(self.below, event)
                self.client_below = _kept(self.client_below, event)
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


def _kept(shown: dict[str, _OfStep], resumed: ExecutionResumed) -> dict[str, _OfStep]:
    """What a resume leaves of what is shown, by call."""
    return {call: event for call, event in shown.items() if not resumed.voids(event.step)}
