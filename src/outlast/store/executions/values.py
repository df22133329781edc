"""Arguments and results of transactions on executions."""

from dataclasses import dataclass, field
from typing import Any

from outlast.model.budget import LEAST_OUTPUT
from outlast.model.charge import Charge
from outlast.model.checkpoint import Checkpoint
from outlast.model.event import Entry, Event, TextAdded, ThinkingAdded
from outlast.model.execution import (
    BrowserUse,
    Budget,
    Execution,
    Failure,
    OnBusy,
    PauseRequest,
    RequestContext,
    Status,
    Step,
)
from outlast.model.image import WholeImage
from outlast.model.memory import MemoryAccess, MemoryWrite
from outlast.model.task import Task
from outlast.model.usage import NOTHING_SPENT, Spent
from outlast.model.wait import Wait
from outlast.store.budgets.shares import Applying
from outlast.store.idempotency import Idempotency


@dataclass(frozen=True, slots=True)
class Cut:
    """Turns of its conversation that a new execution replaces: one and all after it.

    The first of them is the turn of the same `origin.message_id`, else that of `execution_id`, else
    the one after `behind`, else with `same_input` the newest if its input is the same. Superseded
    turns do not count; if none is found nothing is cut.
    """

    explicit: bool
    """The client requested a cut. Else only a turn of the same message id is cut; if that is the
    newest, has the same input and neither failed nor was cancelled, this is a repeated request: it
    starts nothing and returns that execution."""
    execution_id: str | None = None
    behind: str | None = None
    same_input: bool = False
    required: bool = False
    """Raise if `execution_id` is not a turn, or a superseded one."""


@dataclass(frozen=True, slots=True)
class BrowserWrite:
    """The state of an execution's browser, as it is to be kept."""

    sealed: str | None
    """Encrypted with the server's secret; None: none is kept any more."""


@dataclass(frozen=True, slots=True)
class ActiveTime:
    """Active time of a running execution, as of a point in time."""

    execution: Execution
    active_ms: int
    at: int
    applying: tuple[Applying, ...] = ()
    """Budgets that bound its seconds."""
    counted_to: int = 0
    """Time up to which they know of its work."""
    browser: BrowserUse | None = None
    """The use of its browser, while that is open."""


@dataclass(frozen=True, slots=True)
class LogPage:
    """A page of an execution's log."""

    entries: tuple[Entry, ...]
    more: bool
    """Whether there may be more after it."""
    size: int
    """Characters of what its rows hold."""
    is_cut: bool
    """The entry after it is large: read it alone, by `log`."""


@dataclass(frozen=True, slots=True)
class NewExecution:
    """Arguments of `create`. All ids are new, except that conversation_id may exist."""

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
    """Maximum live executions in the conversation."""
    task: Task | None = None
    """Stored beside the execution, whose state is the task's first."""
    user: str | None = None
    """The caller's end user; None: the conversation's."""
    indexed: tuple[tuple[str, str], ...] = ()
    """Indexed metadata, as names and values."""
    agent_name: str = ""
    """For followers of the execution from its first event on."""
    cut: Cut | None = None
    """Turns that it replaces, in an existing conversation."""
    budgeted: bool = False
    """Whether the workspace has budgets, which must not be spent."""
    least_output: int = LEAST_OUTPUT
    """Minimum tokens of an answer for which these must have room."""
    memory_stores: tuple[MemoryAccess, ...] = ()


@dataclass(frozen=True, slots=True)
class Created:
    """Result of `create`."""

    execution: Execution
    """As it was created: queued, also if its first segment has begun in the same commit."""
    replayed: bool = False
    """The idempotency key or the message was known; execution is that of the first request."""
    answer: str | None = None
    """The first request's response, if it was stored."""
    interrupted: tuple[Execution, ...] = ()
    """Executions of the conversation that on_busy=interrupt, or a cut, has requested to cancel, the
    youngest first; those that ran in no process are cancelled already."""


@dataclass(frozen=True, slots=True)
class NewChild:
    """A child execution, as it is to be inserted."""

    execution: Execution
    """Queued; `waiting` if it waits for its siblings."""
    agent: str
    """The agent's name."""


@dataclass(frozen=True, slots=True)
class Advance:
    """One move of one execution: from the row `before` to the row `after`.

    The write happens only if the row still has before's status, segment and waiting; identity,
    input and requests (cancel_requested) are never changed by it.
    """

    before: Execution
    after: Execution
    events: tuple[tuple[int, Event], ...] = ()
    """(time, event), appended in this order."""
    texts: tuple[tuple[int, TextAdded | ThinkingAdded], ...] = ()
    """All text of the step that ends here, one run of pieces per part; it precedes `events` and
    replaces the pieces that were appended while the step ran."""
    appended_pieces: int = 0
    """Number of the pieces in `texts` that were appended already."""
    steps: tuple[Step, ...] = ()
    all_steps: tuple[Step, ...] | None = None
    """At the end of an execution: those that the segment knows by then, in order."""
    charges: tuple[Charge, ...] = ()
    checkpoint: Checkpoint | None = None
    """After the last of `steps`."""
    earlier: tuple[Checkpoint, ...] = ()
    """Checkpoints after the steps before it, without states."""
    waits: tuple[Wait, ...] = ()
    """New waits; each replaces the earlier one of the same call."""
    children: tuple[NewChild, ...] = ()
    """New children, each of a call that waits for it."""
    begun: tuple[str, ...] = ()
    """Ids of approved tool calls that are about to run."""
    state: dict[str, Any] | None = None
    """The execution's new state; a checkpoint's own state takes precedence."""
    memory: tuple[MemoryWrite, ...] = ()
    """What the recorded tool call writes to memory stores."""
    images: tuple[WholeImage, ...] = ()
    """The images that the recorded tool call has brought."""
    browser: BrowserWrite | None = None
    """The new state of its browser; None: as before."""
    pause: PauseRequest | None = None
    """The request that it carries out, which those below it are to carry out too."""
    counted_to: int = 0
    """Time up to which budgets know of its work, in milliseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """Result of `advance`."""

    entries: tuple[Entry, ...]
    applying: tuple[Applying, ...] = ()
    """The budgets that the execution spends from."""


@dataclass(frozen=True, slots=True)
class ForcedFailure:
    """The end of an execution that cannot be ended by `advance`."""

    workspace_id: str
    execution_id: str
    at: int
    error: Failure
    """Contains no text from outside."""
    segment: int | None = None
    """Only if the row has this segment; None: any."""
    resting: bool = False
    """Whether a suspended or paused one is failed too."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An execution that runs or waits for a worker, read without parsing its row."""

    workspace_id: str
    id: str
    status: str
    updated_at: int


@dataclass(frozen=True, slots=True)
class Resume:
    """A request to continue from a checkpoint, or from the current position."""

    workspace_id: str
    execution_id: str
    at: int
    checkpoint_id: str | None = None
    """None: the current position, after its newest checkpoint."""
    key_id: str | None = None
    only: frozenset[Status] = frozenset(Status)
    """Allowed statuses; from another one it is refused."""
    again: bool = False
    """Automatically, as the next attempt of a task."""


@dataclass(frozen=True, slots=True)
class Details:
    """An execution with what it recorded, in one snapshot."""

    execution: Execution
    steps: tuple[Step, ...] = ()
    """Empty if it made only one step, which then is its answer."""
    waits: tuple[Wait, ...] = ()
    """Of a live execution: the newest wait per call, superseded ones too; then the approvals that
    its children await."""
    open_text: str = ""
    """The open step's text so far."""
    below: Spent = NOTHING_SPENT
    """What the executions below it have spent."""


@dataclass(frozen=True, slots=True)
class TextAppend:
    """Pieces of a running step's text. A power cut may lose the last moments of them."""

    execution: Execution
    texts: tuple[tuple[int, TextAdded | ThinkingAdded], ...]
