"""Response models of the executions room."""

from typing import Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict

from outlast.http.image import Image
from outlast.model.memory import Access
from outlast.model.schedule import CatchUp, Overlap, PausedReason
from outlast.rooms.executions.schemas import StatusWord

ApprovalKind: TypeAlias = Literal["approval", "unknown_outcome"]


class ToolCall(TypedDict):
    """A finished tool call."""

    id: Annotated[str, Field(examples=["tc_01k6zj3t7hf2a9q1x5m8r4c0vb"])]
    name: str
    parameters: dict[str, Any]
    result: Annotated[Any, Field(description="JSON; the error's text where isError.")]
    isError: bool
    duration: Annotated[int, Field(description="Milliseconds.")]
    images: NotRequired[list[Image]]


class Usage(TypedDict):
    """Tokens of every model request that finished, each once."""

    inputTokens: int
    outputTokens: int
    totalTokens: int
    cacheReadTokens: int
    cacheWriteTokens: int
    estimated: Annotated[
        bool, Field(description="True where the provider gave no figure for some request.")
    ]


class Timing(TypedDict):
    """Milliseconds."""

    totalMs: Annotated[int, Field(description="From creation to the end, or to the last change.")]
    firstTokenMs: Annotated[
        int | None, Field(description="From creation to the first piece of the answer.")
    ]
    toolCallMs: Annotated[int, Field(description="Sum over all tool calls.")]


class Failure(TypedDict):
    """Why the execution failed."""

    type: Annotated[str, Field(examples=["execution_error"])]
    code: Annotated[str, Field(examples=["limit_exceeded"])]
    message: str


class PendingApproval(TypedDict):
    """A tool call that waits for a person."""

    toolCallId: str
    name: str
    parameters: dict[str, Any]
    kind: ApprovalKind
    executionId: NotRequired[str]
    """The execution below this one whose call it is."""


class PendingClientCall(TypedDict):
    """A tool call that waits for its client, which runs it."""

    toolCallId: str
    name: str
    parameters: dict[str, Any]
    expiresAt: Annotated[str | None, Field(description="When it fails for want of a result.")]
    executionId: NotRequired[str]
    """The execution below this one whose call it is."""


class Question(TypedDict):
    """What the server of a tool asks a person."""

    id: str
    message: str
    mode: Annotated[
        Literal["form", "url"],
        Field(description="form: content by the schema; url: consent to open the page."),
    ]
    schema: NotRequired[Annotated[dict[str, Any], Field(description="Of a form's content.")]]
    url: NotRequired[str]


class PendingInput(TypedDict):
    """A tool call whose server waits for a person's input."""

    toolCallId: str
    name: str
    parameters: dict[str, Any]
    questions: list[Question]
    expiresAt: Annotated[str | None, Field(description="When its questions are cancelled.")]
    executionId: NotRequired[str]
    """The execution below this one whose call it is."""


class Truncated(TypedDict):
    """What a list has cut, and where all of it is; `?full=true` cuts nothing."""

    fields: Annotated[list[str], Field(examples=[["output"]])]
    url: Annotated[str, Field(examples=["/v1/executions/exec_01k6zj3t7hf2a9q1x5m8r4c0vb"])]


class ScheduledRun(TypedDict):
    """Which time of a schedule an execution is."""

    scheduleId: str
    scheduledAt: Annotated[str | None, Field(description="Null: by hand.")]
    late: Annotated[bool, Field(description="It makes up for a time that had passed.")]
    missed: Annotated[
        int, Field(description="Runs before it that were not made up for, up to 100.")
    ]


class ReadOnlyStore(TypedDict):
    """A memory store that an execution only reads."""

    id: str
    access: Literal["read_only"]


class Execution(TypedDict):
    """One execution."""

    id: Annotated[str, Field(examples=["exec_01k6zj3t7hf2a9q1x5m8r4c0vb"])]
    agentId: Annotated[str, Field(examples=["agt_01k6zj3t7hf2a9q1x5m8r4c0va"])]
    agentName: str
    conversationId: Annotated[str, Field(examples=["conv_01k6zj3t7hf2a9q1x5m8r4c0vc"])]
    parentId: Annotated[str | None, Field(description="The execution that called this one.")]
    status: StatusWord
    input: Annotated[str, Field(description="The user's message; empty once it is purged.")]
    output: Annotated[
        str | None,
        Field(description="The answer, or as much of it as there is, also of a step that runs."),
    ]
    error: Failure | None
    toolCalls: list[ToolCall]
    pendingApprovals: list[PendingApproval]
    pendingClientCalls: NotRequired[
        Annotated[list[PendingClientCall], Field(description="Only where there are any.")]
    ]
    pendingInputs: NotRequired[
        Annotated[list[PendingInput], Field(description="Only where there are any.")]
    ]
    usage: Usage
    creditsUsed: float
    timing: Timing
    user: Annotated[str | None, Field(description="The caller's end user.")]
    metadata: dict[str, Any]
    memoryStores: NotRequired[
        Annotated[
            list[str | ReadOnlyStore],
            Field(description="Its memory stores, where it has any, as in the request."),
        ]
    ]
    isPurged: Annotated[bool, Field(description="Its conversation was deleted, its content gone.")]
    superseded: NotRequired[
        Annotated[bool, Field(description="True where another has taken its turn's place.")]
    ]
    createdAt: Annotated[str, Field(examples=["2026-03-15T10:30:00.000Z"])]
    startedAt: str | None
    completedAt: str | None
    schedule: NotRequired[
        Annotated[ScheduledRun, Field(description="Only where a schedule started it.")]
    ]
    truncated: NotRequired[Annotated[Truncated, Field(description="Only in lists.")]]


class ExecutionPage(TypedDict):
    """A page of the executions, newest first."""

    data: list[Execution]
    hasMore: bool
    nextCursor: Annotated[str | None, Field(description="For `after`, or for `before` going back.")]


class Cancelled(TypedDict):
    """The output and usage of a cancelled execution."""

    id: str
    status: StatusWord
    output: str | None
    usage: Usage


class WrittenMemory(TypedDict):
    """A version of a memory item that a step has written."""

    storeId: str
    itemId: str
    key: str
    version: int
    deleted: Annotated[bool, Field(description="The step deleted the item.")]
    step: int


class Checkpoint(TypedDict):
    """A place in an execution that it can go back to."""

    id: Annotated[str, Field(examples=["cp_01k6zj3t7hf2a9q1x5m8r4c0vb"])]
    step: Annotated[int, Field(description="The highest step that was recorded.")]
    label: str | None
    superseded: Annotated[bool, Field(description="A roll-back went behind it.")]
    createdAt: str
    memoryWrites: Annotated[
        list[WrittenMemory],
        Field(description="By the steps up to the next checkpoint; a roll-back leaves them."),
    ]


class Checkpoints(TypedDict):
    """All checkpoints of an execution, oldest first."""

    data: list[Checkpoint]


class Approval(TypedDict):
    """A tool call that waits for a person, or the decision."""

    executionId: str
    toolCallId: str
    name: Annotated[str, Field(description="The tool's.")]
    kind: ApprovalKind
    parameters: Annotated[dict[str, Any], Field(description="As the model proposed them.")]
    effectiveParameters: Annotated[
        dict[str, Any], Field(description="As the tool runs with them: edited, or as proposed.")
    ]
    approved: Annotated[bool | None, Field(description="Null while it waits.")]
    reason: str | None
    result: Annotated[Any, Field(description="The call's result, as given by the person.")]
    decidedBy: Annotated[str | None, Field(description="The key's id; null where it expired.")]
    requestedAt: str
    decidedAt: str | None
    expiresAt: Annotated[str | None, Field(description="When the tool's default decides.")]


class ApprovalPage(TypedDict):
    """A page of the open approvals."""

    data: list[Approval]
    hasMore: bool
    nextCursor: str | None


class RunAccepted(TypedDict):
    """Ids of a run without a body."""

    message: Annotated[str, Field(examples=["Execution started. Poll events for status."])]
    requestId: Annotated[str, Field(description="The execution's id.")]
    agentId: str


class Accepted(TypedDict):
    """A background run that a request without a body has started."""

    data: RunAccepted


class Turn(TypedDict):
    """A message of the user or the assistant."""

    id: Annotated[str, Field(examples=["msg_01k6zj3t7hf2a9q1x5m8r4c0vb"])]
    executionId: str
    role: Literal["user", "assistant"]
    content: str
    toolCalls: NotRequired[Annotated[list[ToolCall], Field(description="The assistant's.")]]
    timestamp: str


class Conversation(TypedDict):
    """A conversation with all its turns, oldest first."""

    id: str
    agentId: str
    turns: list[Turn]
    tokenCount: int
    turnCount: int
    createdAt: str
    lastActiveAt: str


class ConversationSummary(TypedDict):
    """A conversation without its turns."""

    id: Annotated[str, Field(examples=["conv_01k6zj3t7hf2a9q1x5m8r4c0vc"])]
    agentId: str
    agentName: str
    user: Annotated[str | None, Field(description="The end user that it began with.")]
    executionCount: Annotated[int, Field(description="How many executions it has had.")]
    createdAt: str
    lastActiveAt: Annotated[str, Field(description="When its last execution came or ended.")]


class ConversationPage(TypedDict):
    """A page of the conversations, newest activity first."""

    data: list[ConversationSummary]
    hasMore: bool
    nextCursor: Annotated[str | None, Field(description="For `after`.")]


class AgentTool(TypedDict):
    """A tool of an agent."""

    name: str
    description: str
    parameters: Annotated[dict[str, Any], Field(description="JSON Schema of its arguments.")]
    effect: Literal["read_only", "idempotent", "destructive"]


class ScheduleSummary(TypedDict):
    """A schedule, as its agent shows it."""

    id: Annotated[str, Field(examples=["sch_01k6zj3t7hf2a9q1x5m8r4c0vb"])]
    name: str | None
    cron: str | None
    times: list[str] | None
    timezone: str
    status: Literal["active", "paused"]
    pausedReason: PausedReason | None
    nextRunAt: Annotated[str | None, Field(description="Null while it is paused.")]
    lastRunAt: str | None


class ScheduleMemory(TypedDict):
    """A memory store of each execution."""

    id: str
    access: Access


class ScheduleBudget(TypedDict):
    """What each execution may spend; null: no bound."""

    maxTokens: int | None
    maxCredits: float | None
    maxSteps: int | None
    maxSeconds: float | None


class Schedule(ScheduleSummary):
    """A schedule."""

    agentId: str
    source: Annotated[
        Literal["api", "file"], Field(description="`file`: an agents file defines it.")
    ]
    input: str
    metadata: dict[str, Any]
    conversationId: str | None
    memoryStores: list[ScheduleMemory] | None
    budget: ScheduleBudget
    overlap: Overlap
    catchUp: CatchUp
    catchUpWindow: int
    startAt: str | None
    endAt: str | None
    jitterSeconds: int
    pauseAfterFailures: int
    failures: Annotated[int, Field(description="Runs in a row that could not start.")]
    queued: Annotated[bool, Field(description="A run waits for the end of an earlier one.")]
    nextRuns: Annotated[list[str], Field(description="The next five.")]
    createdAt: str
    updatedAt: str


class Agent(TypedDict):
    """An agent, its newest version."""

    id: str
    name: str
    description: str
    model: str
    instructions: str
    tools: list[AgentTool]
    version: int
    paused: bool
    schedules: Annotated[list[ScheduleSummary], Field(description="The first twenty.")]
    createdAt: str
    updatedAt: str


class AgentPage(TypedDict):
    """A page of the agents, newest first."""

    data: list[Agent]
    hasMore: bool
    nextCursor: str | None
    nextToken: Annotated[str | None, Field(description="The same as nextCursor.")]
