"""An execution: its status machine, its record, its steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Any, Final, TypeAlias

from outlast.model.budget import Amounts, Reservation
from outlast.model.client_call import ClientTool
from outlast.model.image import Image
from outlast.model.memory import MemoryAccess
from outlast.model.message import AssistantMessage, ToolCall
from outlast.model.usage import NO_USAGE, Usage
from outlast.model.wait import Awaiting


class Status(StrEnum):
    """Status of an execution; each room has its own word for it."""

    QUEUED = "queued"
    RUNNING = "running"
    SUSPENDED = "suspended"
    """Its tool calls wait for a person, a client, a child execution or a time."""
    PAUSED = "paused"
    """Paused on request."""
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.PAUSED, Status.CANCELLED, Status.FAILED}),
    Status.RUNNING: frozenset(
        {
            Status.RUNNING,  # a step inside a segment, or the next segment after a crash
            Status.QUEUED,  # handed over while the server drains
            Status.SUSPENDED,
            Status.PAUSED,
            Status.COMPLETED,
            Status.FAILED,
            Status.CANCELLED,
        }
    ),
    Status.SUSPENDED: frozenset({Status.QUEUED, Status.PAUSED, Status.CANCELLED, Status.FAILED}),
    Status.PAUSED: frozenset({Status.QUEUED, Status.SUSPENDED, Status.CANCELLED, Status.FAILED}),
    Status.COMPLETED: frozenset({Status.QUEUED, Status.SUSPENDED}),  # rolled back
    Status.FAILED: frozenset({Status.QUEUED, Status.SUSPENDED}),  # resumed from a checkpoint
    Status.CANCELLED: frozenset({Status.QUEUED, Status.SUSPENDED}),  # rolled back
}
"""All allowed transitions; a client-driven execution runs at once, others are queued first."""

TERMINAL: Final = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
LIVE: Final = frozenset(Status) - TERMINAL
CLIENT_DRIVEN: Final = 0
"""Agent version of an execution that only its client's calls move; no worker takes it."""
SEEN_MILLIS: Final = 3000
"""Maximum interval between active-time updates, in milliseconds."""
RESTING: Final = TERMINAL | {Status.SUSPENDED, Status.PAUSED}
"""Statuses without a worker; if one is shown, a waiting caller gets its response."""
_BY_THEMSELVES: Final = (Awaiting.CHILD, Awaiting.TIME)


class OnBusy(StrEnum):
    """What to do when the conversation already has a live execution."""

    ENQUEUE = "enqueue"
    REJECT = "reject"
    INTERRUPT = "interrupt"


@dataclass(frozen=True, slots=True)
class Budget:
    """What the caller allows one execution to spend; None means no bound."""

    max_tokens: int | None = None
    max_credits: float | None = None
    max_steps: int | None = None
    max_seconds: float | None = None


UNBOUNDED: Final = Budget()


@dataclass(frozen=True, slots=True)
class PauseRequest:
    """A request to pause an execution."""

    now: bool = False
    """Abort the running model request instead of letting the step end."""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an execution failed."""

    type: str
    code: str
    message: str


OUR_MISTAKE: Final = Failure("internal_error", "internal_error", "The server made a mistake.")
REFUSED: Final = Failure(
    "internal_error",
    "internal_error",
    "The database refused what was to be recorded of this execution.",
)
UNREADABLE: Final = Failure(
    "internal_error",
    "internal_error",
    "What is recorded of this execution cannot be read by this version of the server.",
)


@dataclass(frozen=True, slots=True)
class RequestContext:
    """What the request that started an execution contained besides its input."""

    instructions: str = ""
    """For this execution alone, appended to the agent's own."""
    chat_id: str | None = None
    """The client's id of the chat that it belongs to."""
    format: str | None = None
    """Stream format for clients that name none."""
    headers: str | None = field(default=None, repr=False)
    """Sent with its tool calls; encrypted, and deleted when the execution ends."""
    message_id: str | None = None
    """The client's id of the message that is the input."""
    schedule_id: str | None = None
    """The schedule that started it, in the place of a request."""
    scheduled_at: int | None = None
    """The scheduled time; None if it was started by hand."""
    late: bool = False
    """Whether it makes up for a time that had passed."""
    missed: int = 0
    """Number of scheduled runs before it that were not made up for."""
    client_tools: tuple[ClientTool, ...] = ()
    """Tools besides the agent's own, which the client runs."""


NO_CONTEXT: Final = RequestContext()


@dataclass(frozen=True, slots=True)
class BrowserUse:
    """What an execution has used of a browser, superseded work included; it never decreases."""

    steps: int = 0
    """Recorded calls of browser tools."""
    ms: int = 0
    """Time that its browser was open, in milliseconds."""
    since: int | None = None
    """When `ms` was last brought up to date while it was open; None: it is closed."""
    charged: int = 0
    """Whole seconds that steps have been charged for."""

    @property
    def seconds(self) -> int:
        """Whole seconds that its browser was open."""
        return self.ms // 1000

    def closed(self, now: int) -> "BrowserUse":
        """Return the use of a browser that ended with its process: up to the last heartbeat."""
        if self.since is None:
            return self
        ms = self.ms + min(max(0, now - self.since), SEEN_MILLIS)
        return replace(self, ms=ms, since=None)


NO_BROWSER: Final = BrowserUse()


@dataclass(frozen=True)
class Execution:
    """One execution's row. Times are milliseconds since the epoch.

    It has a dict rather than slots: every move copies it, and a dict is copied at once.
    """

    id: str
    workspace_id: str
    agent_id: str
    agent_version: int
    conversation_id: str
    turn: int
    """Number of the execution in its conversation, from 1."""
    status: Status
    segment: int
    """Number of segments begun; the fencing token against a worker that lost the execution."""
    input: str
    created_at: int
    updated_at: int
    key_id: str | None = None
    parent_id: str | None = None
    started_at: int | None = None
    completed_at: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    session: dict[str, Any] = field(default_factory=dict)
    """The conversation's session values when this execution started."""
    budget: Budget = UNBOUNDED
    origin: RequestContext = NO_CONTEXT
    waiting: bool = False
    """Queued after another execution of its conversation."""
    cancel_requested: bool = False
    output: str | None = None
    error: Failure | None = None
    usage: Usage = NO_USAGE
    steps: int = 0
    """Number of recorded steps, tool calls included, superseded ones excluded."""
    final_model: str | None = None
    first_token_ms: int | None = None
    tool_ms: int = 0
    active_ms: int = 0
    """Time that workers spent on it, over all segments, in milliseconds."""
    is_purged: bool = False
    pause_requested: PauseRequest | None = None
    superseded_tokens: int = 0
    """Tokens of work superseded by a roll-back or a pause: charged, and not in `usage`."""
    superseded_to: int = 0
    """Highest step number of superseded work; later steps are numbered after it."""
    resumed_ms: int = 0
    """`active_ms` when it was last rolled back: the agent's time limit counts from there."""
    state: dict[str, Any] = field(default_factory=dict)
    """The state of the newest checkpoint that has one, or as it was changed since."""
    active_since: int | None = None
    """When `active_ms` was last brought up to date; None while no worker or client has it."""
    credits: int = 0
    """Billionths of a credit charged, superseded work included; never decreases."""
    tries: int = 0
    """Segments begun since the last recorded step or the last explicit start or resume."""
    user: str | None = None
    """The caller's end user: text that the server only keeps, filters by and passes to tools."""
    superseded: bool = False
    """The client has cut this turn from its conversation: kept in records, hidden from the
    model."""
    awaiting: Awaiting | None = None
    """Who or what is to act first, while it is suspended."""
    root_id: str | None = None
    """The execution at the root of its tree; None if it is one itself."""
    depth: int = 0
    """Number of executions above it."""
    tool_call_id: str | None = None
    """The call of its parent that it carries out; None for a root."""
    children: int = 0
    """Number of children ever created, superseded ones included."""
    paused_by: str | None = None
    """The execution above whose pause has stopped this one, or is to; None: its own, if any."""
    reserved: Reservation | None = None
    """What it has reserved of budgets for what it does now."""
    memory_stores: tuple[MemoryAccess, ...] = ()
    """Memory stores that its tools reach."""
    browser: BrowserUse | None = None
    """What it has used of a browser; None: it never had one."""

    @property
    def tree(self) -> str:
        """Id of the root of its tree."""
        return self.root_id or self.id

    @property
    def is_client_driven(self) -> bool:
        """Whether only its client's calls move it."""
        return self.agent_version == CLIENT_DRIVEN

    @property
    def shown_status(self) -> Status:
        """Its status for callers: what waits for a child or a time alone is running."""
        return Status.RUNNING if self.awaiting in _BY_THEMSELVES else self.status

    def active_by(self, now: int) -> int:
        """Return its active time in milliseconds; a worker's counts up to its last heartbeat."""
        if self.status is not Status.RUNNING or self.active_since is None:
            return self.active_ms
        since = max(0, now - self.active_since)
        return self.active_ms + (since if self.is_client_driven else min(since, SEEN_MILLIS))

    @property
    def charged_tokens(self) -> int:
        """Tokens used, superseded work included; never decreases."""
        return self.usage.total_tokens + self.superseded_tokens

    @property
    def spent(self) -> Amounts:
        """What it has spent by itself."""
        return Amounts(self.charged_tokens, self.credits, self.steps)


_FIELDS: Final = frozenset(known.name for known in fields(Execution))


def advanced(execution: Execution, changes: Mapping[str, Any]) -> Execution:
    """Return a copy with these fields changed. Raises KeyError for an unknown field.

    Like `dataclasses.replace`, at a tenth of its cost: every step of every execution calls it.
    """
    if not changes.keys() <= _FIELDS:
        raise KeyError(*sorted(changes.keys() - _FIELDS))
    made = object.__new__(Execution)
    object.__setattr__(made, "__dict__", {**execution.__dict__, **changes})
    return made


def at_rest(execution: Execution, status: Status, at: int) -> Execution:
    """Return a copy that no worker has; a client-driven one counts as active until now."""
    return replace(
        execution,
        status=status,
        waiting=False,
        updated_at=max(at, execution.updated_at),
        completed_at=max(at, execution.updated_at) if status in TERMINAL else None,
        pause_requested=None,
        tries=0,
        active_ms=execution.active_by(at) if execution.is_client_driven else execution.active_ms,
        active_since=None,
        awaiting=None,
        reserved=None if status in TERMINAL else execution.reserved,
    )


@dataclass(frozen=True, slots=True)
class ModelStep:
    """A finished model request."""

    id: str
    number: int
    """Number in the execution, from 1; a model step is followed by its tool calls in their
    order."""
    message: AssistantMessage
    model: str
    usage: Usage
    finish_reason: str
    """stop, length, tool_calls, content_filter, cancelled, error."""
    started_at: int
    ended_at: int
    request_digest: str = ""
    """Digest of a code agent's request; empty for one of the server's own loop. The tool calls of
    an answer to a code agent are the function's to make."""


@dataclass(frozen=True, slots=True)
class ToolStep:
    """A finished tool call."""

    id: str
    number: int
    call: ToolCall
    result: Any
    """JSON; the error's text where is_error."""
    is_error: bool
    started_at: int
    ended_at: int
    note: str = ""
    """Reason given with the approval of the call; the model reads it after the result."""
    images: tuple[Image, ...] = ()

    @property
    def duration_ms(self) -> int:
        """How long the tool took."""
        return self.ended_at - self.started_at


Step: TypeAlias = ModelStep | ToolStep
