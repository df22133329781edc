"""What the transactions on executions take and return."""

from dataclasses import dataclass, field
from typing import Any

from outlast.model.charge import Charge
from outlast.model.checkpoint import Checkpoint
from outlast.model.event import Entry, Event, TextAdded, ThinkingAdded
from outlast.model.execution import Budget, Execution, Failure, OnBusy, RequestContext, Status, Step
from outlast.model.task import Task
from outlast.model.wait import Wait
from outlast.store.idempotency import Idempotency


@dataclass(frozen=True, slots=True)
class Cut:
    """Which turns of its conversation a new execution takes the place of: one and all behind it.

    The first of them is the turn of the same `origin.message_id`, else that of `execution_id`, else
    the one behind `behind`, else with `same_input` the newest where its input is the same. Only
    turns that stand count; where none is found nothing is cut.
    """

    explicit: bool
    """The client says that it cuts. Else only a turn of the same message id is cut; where that is
    the newest, has the same input and neither failed nor was cancelled, this is a repeated request:
    it starts nothing and is answered with that execution."""
    execution_id: str | None = None
    behind: str | None = None
    same_input: bool = False
    required: bool = False
    """Raise where `execution_id` is no turn that stands."""


@dataclass(frozen=True, slots=True)
class ActiveTime:
    """A worker still has an execution: so long, as of a moment."""

    execution: Execution
    active_ms: int
    at: int


@dataclass(frozen=True, slots=True)
class LogPage:
    """A stretch of an execution's log."""

    entries: tuple[Entry, ...]
    more: bool
    """There may be more behind it."""


@dataclass(frozen=True, slots=True)
class NewExecution:
    """What `create` writes. Every id is new but conversation_id, which may be one that exists."""

    id: str
    workspace_id: str
    agent_id: str
    agent_version: int
    conversation_id: str
    new_conversation: bool
    input: str
    at: int
    key_id: str | None = None
    parent_id: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    session: dict[str, Any] = field(default_factory=dict)
    """Merged over the conversation's session values."""
    budget: Budget = field(default_factory=Budget)
    origin: RequestContext = field(default_factory=RequestContext)
    on_busy: OnBusy = OnBusy.ENQUEUE
    idempotency: Idempotency | None = None
    max_live: int = 1 << 31
    """With so many live executions in the conversation, no more is made."""
    task: Task | None = None
    """Kept beside the execution, whose state is the task's first."""
    user: str | None = None
    """The caller's end user; None: the conversation's."""
    indexed: tuple[tuple[str, str], ...] = ()
    """The metadata by which lists filter, as names and values."""
    agent_name: str = ""
    """Said to those who follow the execution from its first event on."""
    cut: Cut | None = None
    """What it takes the place of, in a conversation that exists."""


@dataclass(frozen=True, slots=True)
class Created:
    """What `create` did."""

    execution: Execution
    replayed: bool = False
    """The idempotency key or the message was known; execution is that of the first request."""
    answer: str | None = None
    """The first request's answer, where it has been kept."""
    interrupted: tuple[Execution, ...] = ()
    """Executions of the conversation that on_busy=interrupt, or a cut, has left word to cancel, the
    youngest first; what ran in no process is cancelled already."""


@dataclass(frozen=True, slots=True)
class Advance:
    """One move of one execution: from the row `before` to the row `after`.

    The write happens only if the row still has before's status, segment and waiting; identity,
    input and requests (cancel_requested) are never changed by it.
    """

    before: Execution
    after: Execution
    events: tuple[tuple[int, Event], ...] = ()
    """(at, event), appended in this order."""
    texts: tuple[tuple[int, TextAdded | ThinkingAdded], ...] = ()
    """All text of the step that ends here, one run of pieces per part; it comes before `events` and
    takes the place of the pieces that were appended while the step ran."""
    appended_pieces: int = 0
    """How many of the pieces in `texts` were appended already."""
    steps: tuple[Step, ...] = ()
    charges: tuple[Charge, ...] = ()
    checkpoint: Checkpoint | None = None
    waits: tuple[Wait, ...] = ()
    """Asked now; each takes the place of what was asked of the same call before."""
    begun: tuple[str, ...] = ()
    """Ids of approved tool calls that are about to run."""
    state: dict[str, Any] | None = None
    """The execution's state from then on; a checkpoint's own state comes behind it."""


@dataclass(frozen=True, slots=True)
class ForcedFailure:
    """The end of an execution that cannot be ended by `advance`."""

    workspace_id: str
    execution_id: str
    at: int
    error: Failure
    """Holds nothing that came from outside."""
    segment: int | None = None
    """Only while the row has this segment; None: whichever it has."""
    resting: bool = False
    """Whether one that is suspended or paused is failed too."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An execution that runs or waits for a worker, as far as its row needs no understanding."""

    workspace_id: str
    id: str
    status: str
    updated_at: int


@dataclass(frozen=True, slots=True)
class Resume:
    """A request to go on from a checkpoint, or where the execution stands."""

    workspace_id: str
    execution_id: str
    at: int
    checkpoint_id: str | None = None
    """None: as it stands, behind its newest checkpoint."""
    key_id: str | None = None
    only: frozenset[Status] = frozenset(Status)
    """From another status it is refused."""
    again: bool = False
    """By itself, as the next attempt of a task."""


@dataclass(frozen=True, slots=True)
class Details:
    """An execution with what it recorded, as of one moment."""

    execution: Execution
    steps: tuple[Step, ...] = ()
    """Empty where it made one step only, which then is its answer."""
    waits: tuple[Wait, ...] = ()
    """Of a live execution: the newest question per call, superseded ones too."""
    open_text: str = ""
    """What the open step has shown so far."""


@dataclass(frozen=True, slots=True)
class TextAppend:
    """Pieces of a running step's text. A power cut may take the last moments of them."""

    execution: Execution
    texts: tuple[tuple[int, TextAdded | ThinkingAdded], ...]
