"""Request and response models of the runs room."""

from typing import Annotated, Any, Final, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from outlast.http.client_tools import ClientTools
from outlast.http.parameters import Headers, User
from outlast.model.wait import MAX_REASON
from outlast.rooms.runs.stream.formats import Format

StatusWord = Literal["running", "suspended", "completed", "failed"]
LONGEST_ID: Final = 256
"""Maximum characters of a chat's or a message's id."""
_MOST: Final = 2**53
"""Bound of integers that every JSON reader keeps exact."""


class _Wire(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, frozen=True, strict=True)


class Part(_Wire):
    """One part of a message; what is not named here is not read."""

    type: str
    text: str | None = None
    tool_call_id: str | None = None
    state: str | None = None
    approval: dict[str, Any] | None = None
    output: Any = None
    error_text: str | None = None


class Message(_Wire):
    """One message, in OpenAI's shape (`content`) or the AI SDK's (`parts`)."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    id: str | None = None
    content: str | list[Part] | None = None
    parts: list[Part] | None = None
    tool_call_id: Annotated[
        str | None, Field(validation_alias=AliasChoices("tool_call_id", "toolCallId"))
    ] = None
    """With the role `tool`: the call of the client that `content` is the result of."""


class RunBody(_Wire):
    """What to run."""

    messages: Annotated[
        list[Message],
        Field(
            min_length=1,
            description="The last user message is the input; earlier turns are not read: the "
            "stored conversation is the history. A first system message adds to the instructions. "
            "Last messages of the role `tool` are results of calls that the client has run.",
        ),
    ]
    conversation_id: Annotated[
        str | None, Field(description="Go on in this conversation; default: the chat's, or new.")
    ] = None
    forwarded_headers: Headers | None = None
    client_tools: ClientTools | None = None
    user: User | None = None
    metadata: Annotated[
        dict[str, Any] | None, Field(description="Kept with the run, passed to tools.")
    ] = None
    id: Annotated[
        str | None,
        Field(
            min_length=1,
            max_length=LONGEST_ID,
            description="The chat's id, as the AI SDK sends it.",
        ),
    ] = None
    message_id: Annotated[
        str | None,
        Field(
            description="The message that the AI SDK's client continues, has edited, or wants "
            "answered again."
        ),
    ] = None
    trigger: Annotated[
        str | None,
        Field(
            description="Sent by the AI SDK's chat, which takes the end of an answer for its "
            "turn: such an answer ends where the run waits for a person. `regenerate-message`: "
            "this run takes the place of the one that answered before, and of all behind it."
        ),
    ] = None


class RunQuery(BaseModel):
    """Format of the response."""

    model_config = ConfigDict(frozen=True)

    format: Annotated[
        Format | None,
        Field(description="Default: `ui` where the messages come as `parts`, else `openai`."),
    ] = None


def _index(value: Any) -> Any:
    return value or None


class StreamQuery(BaseModel):
    """Where a stream resumes, and its format."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    format: Annotated[
        Format | None, Field(description="Default: the format that the run was started with.")
    ] = None
    start_index: Annotated[
        Annotated[int, Field(ge=-_MOST, le=_MOST)] | None,
        BeforeValidator(_index),
        Field(description="The first frame to send, from 0; negative: from the end."),
    ] = None


class ApprovalBody(_Wire):
    """A person's decision."""

    approved: bool
    reason: Annotated[
        str | None, Field(max_length=MAX_REASON, description="The model reads it.")
    ] = None


class Run(TypedDict):
    """A run, in six fields."""

    id: str
    agentId: str
    conversationId: str
    status: StatusWord
    createdAt: str
    updatedAt: str


class Decided(TypedDict):
    """The decision stands."""

    success: Literal[True]


class RunError(TypedDict):
    """The answer to a request that failed."""

    error: str
