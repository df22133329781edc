"""Request and response models of the records room."""

from collections.abc import Callable
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from outlast.http.parameters import AgentId
from outlast.model.error import InvalidId
from outlast.model.record import RecordId

_FARTHEST = 2**53
_RESPONDERS = 100
StatusWord = Literal["queued", "running", "waiting", "paused", "completed", "failed", "cancelled"]

_UUID = {"type": "string", "format": "uuid"}
UNREADABLE = "must be a UUID, or an id of the form {form}"


def _read(how: Callable[[str], RecordId], form: str) -> Callable[[Any], RecordId]:
    def read(text: Any) -> RecordId:
        try:
            return how(str(text))
        except InvalidId as error:
            raise ValueError(UNREADABLE.format(form=form)) from error

    return read


_ExecutionOrStep = Annotated[
    RecordId,
    PlainValidator(_read(RecordId.parse, "exec_… or step_…")),
    WithJsonSchema(_UUID),
]
_Message = Annotated[
    RecordId, PlainValidator(_read(RecordId.of_message, "msg_…")), WithJsonSchema(_UUID)
]
_Responder = Annotated[AgentId, WithJsonSchema(_UUID)]


def _at_most(found: list[str]) -> list[str]:
    if len(found) > _RESPONDERS:
        raise ValueError(f"names more than {_RESPONDERS} responders")
    return found


class PageQuery(BaseModel):
    """Filters and number of a page."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    page_number: Annotated[int, Field(ge=1, le=_FARTHEST, description="From 1.")] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 10
    responder_ids: Annotated[
        list[_Responder],
        AfterValidator(_at_most),
        Field(description="Agents, in a parameter each; none: all of them."),
    ] = []


class NestingsQuery(BaseModel):
    """The record to show with everything under it; exactly one of the two."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    execution_id: Annotated[
        _ExecutionOrStep | None, Field(description="An execution's or a step's id.")
    ] = None
    chat_message_id: Annotated[
        _Message | None,
        Field(description="A message's id: the execution that wrote or answered it."),
    ] = None


Uuid = Annotated[str, Field(json_schema_extra={"format": "uuid"})]
Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class RecordUsage(TypedDict):
    """Tokens."""

    inputTokens: int
    outputTokens: int
    totalTokens: int
    cacheReadTokens: int
    cacheWriteTokens: int
    estimated: bool


class RecordFailure(TypedDict):
    """Why an execution failed; without its words once it is purged."""

    type: str
    code: str
    message: str


class AgentDetail(TypedDict):
    """What an execution did. Purged: `input` is empty, `output` null."""

    type: Literal["agent"]
    input: str
    output: str | None
    model: Annotated[str | None, Field(description="It gave the newest answer; null before one.")]
    usage: Annotated[RecordUsage, Field(description="Its own, without superseded work.")]
    error: RecordFailure | None
    user: NotRequired[Annotated[str, Field(description="The end user, where it has one.")]]
    truncated: NotRequired[
        Annotated[
            list[str],
            Field(description="Of a page: texts that are cut; the record alone has them whole."),
        ]
    ]


class ModelDetail(TypedDict):
    """What a model request used."""

    type: Literal["model"]
    model: str
    usage: RecordUsage
    finishReason: Annotated[str, Field(description="`paused`: a pause has closed the request.")]
    superseded: Annotated[bool, Field(description="Taken back by a roll-back or a pause; charged.")]


class ToolDetail(TypedDict):
    """What a tool call did. Purged: `input` is empty, `output` and `error` null."""

    type: Literal["tool"]
    toolName: str
    toolCallId: Uuid
    input: dict[str, Any]
    output: Annotated[Any, Field(description="JSON; null where it failed.")]
    error: str | None
    superseded: Annotated[bool, Field(description="Taken back by a roll-back; charged.")]


class Record(TypedDict):
    """An execution, or one of its steps."""

    createdAt: Moment
    id: Annotated[Uuid, Field(description="A UUID; its version is shown as 4.")]
    updatedAt: Moment
    creditsUsed: Annotated[
        float, Field(description="By all that is under it; decimals that add up exactly.")
    ]
    detail: AgentDetail | ModelDetail | ToolDetail
    endedAt: Moment | None
    isAgentic: Annotated[bool, Field(description="True of executions, false of their steps.")]
    isPurged: Annotated[bool, Field(description="Its conversation was deleted, its content gone.")]
    parentId: Annotated[Uuid | None, Field(description="The execution that it is a part of.")]
    responderId: Annotated[Uuid, Field(description="The agent.")]
    startedAt: Annotated[Moment, Field(description="Until it starts, `createdAt`.")]
    status: StatusWord
    workspaceId: Uuid


class NestedRecord(Record):
    """A record with those under it, oldest first."""

    children: list["NestedRecord"]


class Feedback(TypedDict):
    """What may be said to a user, in three languages."""

    enUs: str
    esEs: str
    ptBr: str


class CallToAction(TypedDict):
    """What can be done about it: read the documentation, try again, or nothing."""

    type: Literal["documentation", "retry", "none"]
    url: str | None


class RecordError(TypedDict):
    """The answer to a request that failed."""

    code: Annotated[str, Field(examples=["execution_not_found"])]
    name: Annotated[str, Field(examples=["NotFoundError"])]
    message: str
    feedback: Feedback
    cta: CallToAction
