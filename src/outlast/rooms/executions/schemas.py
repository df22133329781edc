"""The wire's words of the executions room: what it takes, what it answers."""

from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from outlast.http.request import AgentId, ConversationId, EndMoment, ExecutionId, Moment, Plain
from outlast.model import ids
from outlast.model.error import (
    CheckpointNotFound,
    ConversationNotFound,
    InvalidId,
    InvalidRequest,
)

_MOST: int = 2**53
"""Whole numbers that every JSON reader keeps exact."""

StatusWord = Literal["queued", "running", "suspended", "paused", "completed", "failed", "cancelled"]
_CAMEL = ConfigDict(alias_generator=to_camel, frozen=True)
_BODY = ConfigDict(alias_generator=to_camel, frozen=True, strict=True)


# --- what it takes


class Memory(BaseModel):
    """What the agent may know beside the conversation."""

    model_config = _BODY

    session: Annotated[
        dict[str, Any] | None,
        Field(
            description="Values that stick to the conversation.", examples=[{"userName": "Sarah"}]
        ),
    ] = None


class BudgetBody(BaseModel):
    """What this execution may spend; then it fails with `budget_exceeded` and keeps its output."""

    model_config = _BODY

    max_tokens: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    max_credits: Annotated[float, Field(gt=0, le=_MOST)] | None = None
    max_steps: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    max_seconds: Annotated[float, Field(gt=0, le=_MOST)] | None = None


def _no_store_yet(stores: list[str] | None) -> list[str] | None:
    if stores:
        raise InvalidRequest(
            "Memory stores are not there yet; leave memoryStores out or empty.",
            param="memoryStores",
        )
    return stores


def _conversation_id(text: str | None) -> str | None:
    """An id that is none is a conversation that is not there."""
    try:
        return None if text is None else ids.parse(ids.CONVERSATION, text)
    except InvalidId as error:
        raise ConversationNotFound(param="conversationId") from error


class ExecuteBody(BaseModel):
    """A wish to run an agent."""

    model_config = _BODY | ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "input": "What is the status of order #12345?",
                    "stream": False,
                    "memory": {"session": {"userName": "Sarah", "accountId": "ACC-789"}},
                    "metadata": {"source": "web-chat", "sessionId": "sess_xyz"},
                }
            ]
        }
    )

    input: Annotated[str, Field(min_length=1, description="The user's message or prompt.")]
    conversation_id: Annotated[
        str | None,
        AfterValidator(_conversation_id),
        Field(description="Continue an existing conversation."),
    ] = None
    stream: Annotated[bool | None, Field(description="Answer with server-sent events.")] = None
    background: Annotated[
        bool | None, Field(description="Answer 202 at once, with the execution as it is.")
    ] = None
    memory: Memory | None = None
    memory_stores: Annotated[
        list[str] | None,
        AfterValidator(_no_store_yet),
        Field(description="Memory stores by id. There are none yet: only an empty list is taken."),
    ] = None
    metadata: Annotated[
        dict[str, Any] | None, Field(description="Kept with the execution, shown with it.")
    ] = None
    on_busy: Annotated[
        Literal["enqueue", "reject", "interrupt"] | None,
        Field(description="When the conversation already has a live execution; else enqueue."),
    ] = None
    budget: BudgetBody | None = None


class PauseBody(BaseModel):
    """How an execution is to pause; no body at all is a pause at the next step boundary."""

    model_config = _BODY

    now: Annotated[
        bool | None,
        Field(description="Close the model request that runs, rather than let it end."),
    ] = None
    reason: Annotated[str | None, Field(description="Kept in the log.")] = None


def _checkpoint_id(text: str | None) -> str | None:
    """An id that is none is a checkpoint that is not there."""
    try:
        return None if text is None else ids.parse(ids.CHECKPOINT, text)
    except InvalidId as error:
        raise CheckpointNotFound(param="checkpointId") from error


class ResumeBody(BaseModel):
    """Where an execution is to go on."""

    model_config = _BODY

    checkpoint_id: Annotated[
        str | None,
        AfterValidator(_checkpoint_id),
        Field(description="Roll back to this one; without it the newest."),
    ] = None


class DecisionBody(BaseModel):
    """What somebody says to an approval."""

    model_config = _BODY | ConfigDict(
        json_schema_extra={"examples": [{"approved": True, "parameters": {"amount": 3}}]}
    )

    approved: bool
    reason: Annotated[str | None, Field(description="The model hears why it was denied.")] = None
    parameters: Annotated[
        dict[str, Any] | None, Field(description="The arguments as edited; without it as proposed.")
    ] = None
    result: Annotated[
        Any, Field(description="For an unknown outcome: it ran, and gave this; any JSON.")
    ] = None


class ApprovalsQuery(BaseModel):
    """Which stretch of the approvals."""

    model_config = _CAMEL

    after: Annotated[str | None, Field(description="The nextCursor of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class ListQuery(BaseModel):
    """Which executions a list shows, and which stretch of it."""

    model_config = _CAMEL

    agent_id: Annotated[Plain | None, Field(description="An agent's id or name.")] = None
    status: StatusWord | None = None
    conversation_id: ConversationId | None = None
    parent_id: ExecutionId | None = None
    start_date: Annotated[
        Moment | None, Field(description="Created at this moment or later; ISO 8601.")
    ] = None
    end_date: Annotated[
        EndMoment | None,
        Field(description="Created at this moment or earlier; a bare date includes its day."),
    ] = None
    after: Annotated[
        ExecutionId | None, Field(description="Show what is older than this execution.")
    ] = None
    before: Annotated[
        ExecutionId | None, Field(description="Show what is newer than this execution.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class AgentsQuery(BaseModel):
    """Which stretch of the agents."""

    model_config = _CAMEL

    after: Annotated[AgentId | None, Field(description="Show agents older than this one.")] = None
    before: Annotated[AgentId | None, Field(description="Show agents newer than this one.")] = None
    next_token: Annotated[AgentId | None, Field(description="The same as `after`.")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class StreamQuery(BaseModel):
    """Where a stream goes on; read by the request itself, here for the document."""

    model_config = _CAMEL

    after: Annotated[
        str | None, Field(description="An event id of this stream: go on behind it.")
    ] = None


# --- what it answers


class ToolCall(TypedDict):
    """A finished tool call."""

    id: Annotated[str, Field(examples=["tc_01k6zj3t7hf2a9q1x5m8r4c0vb"])]
    name: str
    parameters: dict[str, Any]
    result: Annotated[Any, Field(description="JSON; the error's text where isError.")]
    isError: bool
    duration: Annotated[int, Field(description="Milliseconds.")]


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
    kind: Literal["approval", "unknown_outcome"]


class Execution(TypedDict):
    """One execution."""

    id: Annotated[str, Field(examples=["exec_01k6zj3t7hf2a9q1x5m8r4c0vb"])]
    agentId: Annotated[str, Field(examples=["agt_01k6zj3t7hf2a9q1x5m8r4c0va"])]
    conversationId: Annotated[str, Field(examples=["conv_01k6zj3t7hf2a9q1x5m8r4c0vc"])]
    parentId: Annotated[str | None, Field(description="The execution that called this one.")]
    status: StatusWord
    output: Annotated[str | None, Field(description="The answer, or as much of it as there is.")]
    error: Failure | None
    toolCalls: list[ToolCall]
    pendingApprovals: list[PendingApproval]
    usage: Usage
    creditsUsed: float
    timing: Timing
    metadata: dict[str, Any]
    isPurged: Annotated[bool, Field(description="Its conversation was deleted, its content gone.")]
    createdAt: Annotated[str, Field(examples=["2026-03-15T10:30:00.000Z"])]
    startedAt: str | None
    completedAt: str | None


class ExecutionPage(TypedDict):
    """A stretch of the executions, newest first."""

    data: list[Execution]
    hasMore: bool
    nextCursor: Annotated[str | None, Field(description="For `after`, or for `before` going back.")]


class Cancelled(TypedDict):
    """What a cancelled execution leaves."""

    id: str
    status: StatusWord
    output: str | None
    usage: Usage


class Checkpoint(TypedDict):
    """A place in an execution that it can go back to."""

    id: Annotated[str, Field(examples=["cp_01k6zj3t7hf2a9q1x5m8r4c0vb"])]
    step: Annotated[int, Field(description="The highest step that was recorded.")]
    label: str | None
    superseded: Annotated[bool, Field(description="A roll-back went behind it.")]
    createdAt: str


class Checkpoints(TypedDict):
    """All checkpoints of an execution, oldest first."""

    data: list[Checkpoint]


class Approval(TypedDict):
    """A tool call that waits for a person, or what the person said."""

    executionId: str
    toolCallId: str
    name: Annotated[str, Field(description="The tool's.")]
    kind: Literal["approval", "unknown_outcome"]
    parameters: Annotated[dict[str, Any], Field(description="As the model proposed them.")]
    effectiveParameters: Annotated[
        dict[str, Any], Field(description="As the tool runs with them: edited, or as proposed.")
    ]
    approved: Annotated[bool | None, Field(description="Null while it waits.")]
    reason: str | None
    result: Annotated[Any, Field(description="What the call is told to have given.")]
    decidedBy: Annotated[str | None, Field(description="The key's id; null where it expired.")]
    requestedAt: str
    decidedAt: str | None
    expiresAt: Annotated[str | None, Field(description="When the tool's default decides.")]


class ApprovalPage(TypedDict):
    """A stretch of the approvals that wait."""

    data: list[Approval]
    hasMore: bool
    nextCursor: str | None


class RunAccepted(TypedDict):
    """What a run without a body is called."""

    message: Annotated[str, Field(examples=["Execution started. Poll events for status."])]
    requestId: Annotated[str, Field(description="The execution's id.")]
    agentId: str


class Accepted(TypedDict):
    """A background run that a request without a body has started."""

    data: RunAccepted


class Turn(TypedDict):
    """What one side said."""

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


class AgentTool(TypedDict):
    """A tool of an agent."""

    name: str
    description: str
    parameters: Annotated[dict[str, Any], Field(description="JSON Schema of its arguments.")]
    effect: Literal["read_only", "idempotent", "destructive"]


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
    createdAt: str
    updatedAt: str


class AgentPage(TypedDict):
    """A stretch of the agents, newest first."""

    data: list[Agent]
    hasMore: bool
    nextCursor: str | None
    nextToken: Annotated[str | None, Field(description="The same as nextCursor.")]
