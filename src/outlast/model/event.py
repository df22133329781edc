"""Events of the log: a closed union of past facts.

Every execution has a gapless, ordered log. An Entry is one event with its position: the segment
that wrote it and its sequence number from 1. Text comes in many small pieces; each piece has a
sequence number of its own, and one entry holds a run of them and has the number of its last (an
entry of three pieces with seq 9 is 7, 8, 9). Segment and seq only grow, so a cursor `segment-seq`
orders entries even if a power cut lost the end of the log and later entries reuse a number.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple, TypeAlias

from outlast.model.client_call import ClientCallEvent
from outlast.model.error import InvalidCursor
from outlast.model.image import Image
from outlast.model.price import UNPRICED
from outlast.model.usage import Usage
from outlast.model.wait import Awaiting
from outlast.model.whole_number import number_of


@dataclass(frozen=True, slots=True)
class ExecutionCreated:
    """The execution was accepted."""

    kind: ClassVar = "execution.created"
    agent_id: str
    agent_version: int
    conversation_id: str
    metadata: dict[str, Any] = field(default_factory=dict)
    parent_id: str | None = None
    input: str = field(default="", compare=False)
    """This and the following fields come from the execution's row when the log is read; the log
    stores none of them."""
    agent: str = field(default="", compare=False)
    """The agent's name."""
    user: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ExecutionStarted:
    """A worker began a segment."""

    kind: ClassVar = "execution.started"


@dataclass(frozen=True, slots=True)
class TextAdded:
    """The model wrote text, in these pieces as the provider sent them."""

    kind: ClassVar = "text.added"
    step: int
    part: int
    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ThinkingAdded:
    """The model showed reasoning, in these pieces."""

    kind: ClassVar = "thinking.added"
    step: int
    part: int
    pieces: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelFinished:
    """A model request ended and its answer is recorded."""

    kind: ClassVar = "model.finished"
    step: int
    model: str
    finish_reason: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    estimated: bool = False
    credits: int | None = None
    """Billionths; None in logs from before there were prices."""

    @property
    def charged(self) -> int:
        """Cost in billionths of a credit."""
        return UNPRICED.of(self.usage) if self.credits is None else self.credits

    @property
    def usage(self) -> Usage:
        """The tokens of this request."""
        return Usage(
            self.input_tokens,
            self.output_tokens,
            self.cache_read_tokens,
            self.cache_write_tokens,
            self.estimated,
        )


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool call is about to run."""

    kind: ClassVar = "tool.started"
    step: int
    tool_call_id: str
    name: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolDeferred:
    """The server of a tool works on a call by itself; by this handle its result is found."""

    kind: ClassVar = "tool.deferred"
    step: int
    tool_call_id: str
    handle: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool call ended and its result is recorded."""

    kind: ClassVar = "tool.finished"
    step: int
    tool_call_id: str
    name: str
    result: Any
    is_error: bool
    duration_ms: int
    credits: int = 0
    """Billionths."""
    execution_id: str | None = None
    """As in `ApprovalRequested`: the call of a child that a person has decided, charged there."""
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True)
class StepRetried:
    """A step is run again: the text that it had shown is void."""

    kind: ClassVar = "step.retried"
    step: int
    reason: str


@dataclass(frozen=True, slots=True)
class DataEmitted:
    """A data event that a code agent's function emitted to the followers of its execution."""

    kind: ClassVar = "data.emitted"
    step: int
    """The number of the step that came next."""
    name: str
    data: Any = None


@dataclass(frozen=True, slots=True)
class ChildStarted:
    """A tool call began a child execution."""

    kind: ClassVar = "child.started"
    step: int
    tool_call_id: str
    execution_id: str
    agent: str


@dataclass(frozen=True, slots=True)
class ChildFinished:
    """The child execution of a tool call has ended."""

    kind: ClassVar = "child.finished"
    step: int
    tool_call_id: str
    execution_id: str
    status: str
    """completed, failed or cancelled."""


@dataclass(frozen=True, slots=True)
class ApprovalRequested:
    """A tool call waits for a person."""

    kind: ClassVar = "approval.requested"
    step: int
    tool_call_id: str
    name: str
    parameters: dict[str, Any]
    approval_kind: str
    """approval, or unknown_outcome: it was running when the server died, and may have taken
    effect."""
    execution_id: str | None = None
    """The child execution whose call it is, below this one; then `step` is that of the call that
    led to it. None: this execution."""


@dataclass(frozen=True, slots=True)
class ApprovalResolved:
    """A person decided on a tool call, or the approval expired."""

    kind: ClassVar = "approval.resolved"
    step: int
    tool_call_id: str
    approved: bool
    reason: str | None = None
    parameters: dict[str, Any] | None = None
    """The arguments that the tool runs with, if a person edited them."""
    approval_kind: str = "approval"
    decided_by: str | None = None
    """Id of the key that decided; None if the approval expired."""
    execution_id: str | None = None
    """As in `ApprovalRequested`."""


@dataclass(frozen=True, slots=True)
class ExecutionSuspended:
    """The segment ended; the last decision on what its calls wait for starts the next."""

    kind: ClassVar = "execution.suspended"
    awaiting: str = Awaiting.PERSON
    """Who or what was to act first then."""


@dataclass(frozen=True, slots=True)
class ExecutionPaused:
    """The segment ended on a request to pause."""

    kind: ClassVar = "execution.paused"
    reason: str | None = None
    input_tokens: int = 0
    """Estimate for the aborted model request; it is charged, and run again."""
    output_tokens: int = 0
    credits: int | None = None
    """Billionths; None in logs from before there were prices."""

    @property
    def charged(self) -> int:
        """Cost of the request in billionths of a credit."""
        used = Usage(self.input_tokens, self.output_tokens)
        return UNPRICED.of(used) if self.credits is None else self.credits


@dataclass(frozen=True, slots=True)
class ExecutionResumed:
    """The next segment is requested, from this checkpoint; work after it is superseded.

    Steps with a number above `step`, and those in `missing`, are void, with their text.
    """

    kind: ClassVar = "execution.resumed"
    checkpoint_id: str | None = None
    step: int = 0
    missing: list[int] = field(default_factory=list)
    decided_by: str | None = None
    """Id of the key that requested it."""

    def voids(self, step: int) -> bool:
        """Whether the step of this number is superseded."""
        return step > self.step or step in self.missing


@dataclass(frozen=True, slots=True)
class ExecutionReleased:
    """The worker is shutting down; another continues the execution."""

    kind: ClassVar = "execution.released"


@dataclass(frozen=True, slots=True)
class ExecutionCompleted:
    """The model gave its last answer, or the client completed its execution."""

    kind: ClassVar = "execution.completed"
    output: str | None = None
    """The result given by the client; for an agent the last answer is the output."""
    below: dict[str, Any] | None = field(default=None, kw_only=True)
    """What the executions below it had spent by then (`Spent.fields`); None: it has none."""


@dataclass(frozen=True, slots=True)
class ExecutionFailed:
    """The execution ended with an error; what it had written is kept."""

    kind: ClassVar = "execution.failed"
    type: str
    code: str
    message: str
    below: dict[str, Any] | None = field(default=None, kw_only=True)
    """As in `ExecutionCompleted`."""


@dataclass(frozen=True, slots=True)
class ExecutionCancelled:
    """The execution was cancelled; what it had written is kept and charged."""

    kind: ClassVar = "execution.cancelled"
    below: dict[str, Any] | None = field(default=None, kw_only=True)
    """As in `ExecutionCompleted`."""


Event: TypeAlias = (
    ExecutionCreated
    | ExecutionStarted
    | TextAdded
    | ThinkingAdded
    | ModelFinished
    | ToolStarted
    | ToolDeferred
    | ToolFinished
    | StepRetried
    | DataEmitted
    | ChildStarted
    | ChildFinished
    | ApprovalRequested
    | ApprovalResolved
    | ClientCallEvent
    | ExecutionSuspended
    | ExecutionPaused
    | ExecutionResumed
    | ExecutionReleased
    | ExecutionCompleted
    | ExecutionFailed
    | ExecutionCancelled
)

KINDS: Final[dict[str, type[Event]]] = {event.kind: event for event in Event.__args__}
TEXTS: Final = (TextAdded, ThinkingAdded)
"""Events of text."""
TEXT_KINDS: Final = (TextAdded.kind, ThinkingAdded.kind)
TERMINAL_EVENTS: Final = (ExecutionCompleted, ExecutionFailed, ExecutionCancelled)
Ended: TypeAlias = ExecutionCompleted | ExecutionFailed | ExecutionCancelled


def is_resting(event: Event) -> bool:
    """Whether a waiting caller gets its response: not while a child or a time is awaited."""
    if isinstance(event, ExecutionSuspended):
        return event.awaiting in (Awaiting.PERSON, Awaiting.CLIENT)
    return isinstance(event, (*TERMINAL_EVENTS, ExecutionPaused))


class Cursor(NamedTuple):
    """A position in an execution's log: everything up to and including it was seen."""

    segment: int
    seq: int

    def __str__(self) -> str:
        return f"{self.segment}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read `segment-seq`. Raises InvalidCursor."""
        before, _, after = text.strip().partition("-")
        segment, seq = number_of(before), number_of(after)
        if segment is None or seq is None:
            raise InvalidCursor
        return cls(segment, seq)


START: Final = Cursor(0, 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One event at its position in the log; `at` is milliseconds since the epoch."""

    segment: int
    seq: int
    at: int
    event: Event

    @property
    def cursor(self) -> Cursor:
        """Cursor of the entry's end."""
        return Cursor(self.segment, self.seq)

    @property
    def first_seq(self) -> int:
        """Sequence number of the entry's first piece; its own number if it has no pieces."""
        return self.seq - len(self) + 1

    def __len__(self) -> int:
        event = self.event
        return len(event.pieces) if isinstance(event, TEXTS) else 1


def expand(entries: Iterable[Entry], after: Cursor = START) -> Iterator[Entry]:
    """Split entries into single pieces and drop those up to and including `after`."""
    for entry in entries:
        event = entry.event
        if isinstance(event, TEXTS) and len(event.pieces) != 1:
            kind, step, part = type(event), event.step, event.part
            for seq, piece in enumerate(event.pieces, entry.first_seq):
                if (entry.segment, seq) > after:
                    yield Entry(entry.segment, seq, entry.at, kind(step, part, (piece,)))
        elif (entry.segment, entry.seq) > after:
            yield entry
