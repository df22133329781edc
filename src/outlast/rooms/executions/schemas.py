"""Request models of the executions room; its responses are in `answers`."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from outlast.http.client_tools import ClientTools
from outlast.http.parameters import (
    AgentId,
    ConversationId,
    EndMoment,
    ExecutionId,
    Headers,
    Moment,
    User,
)
from outlast.model import ids
from outlast.model.budget import MOST_BOUND
from outlast.model.error import (
    CheckpointNotFound,
    ConversationNotFound,
    ExecutionNotFound,
    InvalidId,
)
from outlast.model.wait import MAX_REASON

_MOST: int = 2**53
"""Bound of integers that every JSON reader keeps exact."""

StatusWord = Literal["queued", "running", "suspended", "paused", "completed", "failed", "cancelled"]
CAMEL: Final = ConfigDict(alias_generator=to_camel, frozen=True, defer_build=True)
"""Their validators are made when the first request needs them, not at the start of the server."""
BODY: Final = CAMEL | ConfigDict(strict=True)


class Memory(BaseModel):
    """What the agent may know besides the conversation."""

    model_config = BODY

    session: Annotated[
        dict[str, Any] | None,
        Field(
            description="Values that stick to the conversation.", examples=[{"userName": "Sarah"}]
        ),
    ] = None


class BudgetBody(BaseModel):
    """What this execution may spend; then it fails with `budget_exceeded` and keeps its output."""

    model_config = BODY

    max_tokens: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    max_credits: Annotated[float, Field(gt=0, le=MOST_BOUND)] | None = None
    max_steps: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    max_seconds: Annotated[float, Field(gt=0, le=_MOST)] | None = None


class MemoryStoreAccess(BaseModel):
    """A memory store, and what the execution may do with it."""

    model_config = BODY

    id: str
    access: Literal["read_only", "read_write"] = "read_write"


def read_conversation_id(text: str | None) -> str | None:
    """An id that is none is a conversation that is not there."""
    try:
        return None if text is None else ids.parse(ids.CONVERSATION, text)
    except InvalidId as error:
        raise ConversationNotFound(param="conversationId") from error


def _replaced(text: str | None) -> str | None:
    try:
        return None if text is None else ids.parse(ids.EXECUTION, text)
    except InvalidId as error:
        raise ExecutionNotFound(param="replaces") from error


class ExecuteBody(BaseModel):
    """A request to run an agent."""

    model_config = BODY | ConfigDict(
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
        AfterValidator(read_conversation_id),
        Field(description="Continue an existing conversation."),
    ] = None
    stream: Annotated[bool | None, Field(description="Answer with server-sent events.")] = None
    background: Annotated[
        bool | None, Field(description="Answer 202 at once, with the execution as it is.")
    ] = None
    memory: Memory | None = None
    memory_stores: Annotated[
        list[str | MemoryStoreAccess] | None,
        Field(
            description="At most 8 memory stores, by id, for the agent's tools.",
            examples=[["mem_01k6zj3t7hf2a9q1x5m8r4c0vb"]],
        ),
    ] = None
    metadata: Annotated[
        dict[str, Any] | None, Field(description="Kept with the execution, shown with it.")
    ] = None
    client_tools: ClientTools | None = None
    user: User | None = None
    forwarded_headers: Headers | None = None
    on_busy: Annotated[
        Literal["enqueue", "reject", "interrupt"] | None,
        Field(description="When the conversation already has a live execution; else enqueue."),
    ] = None
    budget: BudgetBody | None = None
    replaces: Annotated[
        str | None,
        AfterValidator(_replaced),
        Field(
            description="An execution whose turn, with all behind it, this one takes the place of: "
            "answer again, or go on from there otherwise."
        ),
    ] = None


class PauseBody(BaseModel):
    """How an execution is to pause; no body at all is a pause at the next step boundary."""

    model_config = BODY

    now: Annotated[
        bool | None,
        Field(description="Close the model request that runs, rather than let it end."),
    ] = None
    reason: Annotated[str | None, Field(max_length=MAX_REASON, description="Kept in the log.")] = (
        None
    )


def _checkpoint_id(text: str | None) -> str | None:
    """An id that is none is a checkpoint that is not there."""
    try:
        return None if text is None else ids.parse(ids.CHECKPOINT, text)
    except InvalidId as error:
        raise CheckpointNotFound(param="checkpointId") from error


class ResumeBody(BaseModel):
    """The checkpoint from which an execution continues."""

    model_config = BODY

    checkpoint_id: Annotated[
        str | None,
        AfterValidator(_checkpoint_id),
        Field(description="Roll back to this one; without it the newest."),
    ] = None


class DecisionBody(BaseModel):
    """A decision on an approval."""

    model_config = BODY | ConfigDict(
        json_schema_extra={"examples": [{"approved": True, "parameters": {"amount": 3}}]}
    )

    approved: bool
    reason: Annotated[
        str | None, Field(max_length=MAX_REASON, description="The model reads it.")
    ] = None
    parameters: Annotated[
        dict[str, Any] | None, Field(description="The arguments as edited; without it as proposed.")
    ] = None
    result: Annotated[
        Any, Field(description="For an unknown outcome: it ran, and gave this; any JSON.")
    ] = None


class ApprovalsQuery(BaseModel):
    """Page of the approvals."""

    model_config = CAMEL

    after: Annotated[str | None, Field(description="The nextCursor of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class ListQuery(BaseModel):
    """Filters and page of a list of executions."""

    model_config = CAMEL

    agent_id: Annotated[str | None, Field(description="An agent's id or name.")] = None
    status: StatusWord | None = None
    conversation_id: ConversationId | None = None
    parent_id: ExecutionId | None = None
    root_id: ExecutionId | None = None
    user: Annotated[str | None, Field(description="The end user that it has.")] = None
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
    full: Annotated[
        bool, Field(description="Cut nothing; a page then ends early where it has become large.")
    ] = False


class ConversationsQuery(BaseModel):
    """Filters and page of a list of conversations."""

    model_config = CAMEL

    agent_id: Annotated[str | None, Field(description="An agent's id or name.")] = None
    user: Annotated[str | None, Field(description="The end user that it began with.")] = None
    after: Annotated[str | None, Field(description="The nextCursor of the page before.")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class AgentsQuery(BaseModel):
    """Page of the agents."""

    model_config = CAMEL

    after: Annotated[AgentId | None, Field(description="Show agents older than this one.")] = None
    before: Annotated[AgentId | None, Field(description="Show agents newer than this one.")] = None
    next_token: Annotated[AgentId | None, Field(description="The same as `after`.")] = None
    limit: Annotated[int, Field(ge=1, le=100)] = 20


class StreamQuery(BaseModel):
    """Where a stream resumes; read by `Call`, listed here for the document."""

    model_config = CAMEL

    after: Annotated[
        str | None, Field(description="An event id of this stream: go on behind it.")
    ] = None
    children: Annotated[
        bool, Field(description="With the frames of all executions that it has called.")
    ] = False


class ExecuteQuery(BaseModel):
    """How the stream of a new execution is shown."""

    model_config = CAMEL

    children: Annotated[
        bool, Field(description="A stream has the frames of all executions that it calls.")
    ] = False
