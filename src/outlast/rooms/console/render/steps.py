"""The steps of a transcript: answers of models, and tool calls."""

from dataclasses import dataclass, field
from typing import Any

from outlast.model.client_call import ClientCallAnswered, ClientCallRequested
from outlast.model.event import (
    ApprovalRequested,
    ApprovalResolved,
    ChildFinished,
    ChildStarted,
    DataEmitted,
    ModelFinished,
    ToolFinished,
    ToolStarted,
)


@dataclass(slots=True)
class Part:
    """A run of text or thinking of one answer."""

    kind: str
    """text or thinking."""
    number: int
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.pieces)


@dataclass(slots=True)
class Ask:
    """A call that waits for a person, or has waited."""

    request: ApprovalRequested
    at: int
    answer: ApprovalResolved | None = None
    answered_at: int | None = None


@dataclass(slots=True)
class ClientAsk:
    """A call that waits for its client's result or for a person's input, or has waited."""

    request: ClientCallRequested
    at: int
    answer: ClientCallAnswered | None = None

    @property
    def is_input(self) -> bool:
        """Whether the tool's server requests input."""
        return self.request.input is not None


@dataclass(slots=True)
class Step:
    """One step: an answer of the model, or a tool call."""

    number: int
    at: int
    """When its first entry was written."""
    before: int = 0
    """When the entry before that was written."""
    parts: list[Part] = field(default_factory=list)
    data: list[DataEmitted] = field(default_factory=list)
    model: ModelFinished | None = None
    call: ToolStarted | ApprovalRequested | ChildStarted | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    result: ToolFinished | None = None
    asks: list[Ask] = field(default_factory=list)
    calls: list[ClientAsk] = field(default_factory=list)
    child: ChildStarted | None = None
    child_end: ChildFinished | None = None
    retries: list[str] = field(default_factory=list)
    superseded_after: int | None = None
    """The highest step number when a roll-back superseded it; None: it stands."""
    ended_at: int | None = None
    cut_off: bool = False
    """Whether the execution has ended before it."""

    def stand_again(self) -> None:
        """Take back that a roll-back has superseded it: it was open, and is made again."""
        self.superseded_after, self.cut_off = None, False
        self.parts.clear()
        self.asks = [ask for ask in self.asks if ask.answer is not None]
        self.calls = [call for call in self.calls if call.answer is not None]

    @property
    def began(self) -> int:
        """When it began: a call with its first entry, a model's answer with what came before."""
        return self.at if self.is_tool else self.before or self.at

    @property
    def is_recorded(self) -> bool:
        """Whether it has ended, and its end is recorded."""
        return self.model is not None or self.result is not None

    @property
    def superseded(self) -> bool:
        """Whether a roll-back has superseded it."""
        return self.superseded_after is not None

    @property
    def has_run(self) -> bool:
        """For a call: whether it has run, or may have."""
        if isinstance(self.call, ToolStarted):
            return True
        return self.result is not None and self.state != "denied"

    @property
    def is_tool(self) -> bool:
        """Whether it is a tool call."""
        return self.call is not None or self.result is not None

    @property
    def name(self) -> str:
        """The tool's name."""
        if self.result is not None:
            return self.result.name
        if isinstance(self.call, ChildStarted):
            return self.call.agent
        return self.call.name if self.call is not None else ""

    @property
    def call_id(self) -> str:
        """The tool call's id."""
        found = self.result or self.call
        return "" if found is None else found.tool_call_id

    @property
    def open_ask(self) -> Ask | None:
        """Its question to a person that has no answer yet."""
        return next((ask for ask in self.asks if ask.answer is None), None)

    @property
    def state(self) -> str:
        """For a call: waits, denied, running, failed, done; cut off or not run by an end."""
        if self.result is not None:
            denied = self.asks and self.asks[-1].answer and not self.asks[-1].answer.approved
            return "denied" if denied else "failed" if self.result.is_error else "done"
        if self.cut_off:
            began = self.has_run or self.child is not None or self.calls
            return "cut off" if began else "not run"
        open_calls = any(call.answer is None for call in self.calls)
        return "waits" if open_calls or self.open_ask is not None else "running"
