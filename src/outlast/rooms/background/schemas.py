"""Request and response models of the background room."""

import base64
import binascii
from typing import Annotated, Literal, NotRequired

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

from outlast.http.parameters import Moment
from outlast.model.error import InvalidId
from outlast.model.ids import EXECUTION, parse

StatusWord = Literal["PENDING", "RUNNING", "COMPLETED", "FAILED"]


def to_token(execution_id: str) -> str:
    """Return an opaque cursor after this execution."""
    return base64.urlsafe_b64encode(execution_id.encode()).decode().rstrip("=")


def from_token(token: str) -> str:
    """Read what to_token wrote. Raises ValueError."""
    try:
        padded = token + "=" * (-len(token) % 4)
        return parse(EXECUTION, base64.urlsafe_b64decode(padded.encode()).decode())
    except (binascii.Error, UnicodeError, InvalidId) as error:
        raise ValueError("is not a token that this server gave out") from error


Token = Annotated[str, AfterValidator(from_token), WithJsonSchema({"type": "string"})]


class AgentEventsQuery(BaseModel):
    """Filters and page of a list of events."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, defer_build=True)

    status: StatusWord | None = None
    started_after: Annotated[
        Moment | None, Field(description="Only events started after this moment.")
    ] = None
    started_before: Annotated[
        Moment | None, Field(description="Only events started before this moment.")
    ] = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    next_token: Annotated[Token | None, Field(description="From the page before.")] = None
    full: Annotated[
        bool, Field(description="Cut nothing; a page then ends early where it has become large.")
    ] = False


class EventsQuery(AgentEventsQuery):
    """The same for all agents, or for one."""

    agent_id: Annotated[str | None, Field(description="An agent's id or name.")] = None


class RunAccepted(TypedDict):
    """Ids of a background run."""

    message: Annotated[str, Field(examples=["Execution started. Poll events for status."])]
    requestId: Annotated[str, Field(description="The execution's id.")]
    agentId: str


class Accepted(TypedDict):
    """A background run that has been started."""

    data: RunAccepted


class Truncated(TypedDict):
    """What a page has cut, and where all of it is."""

    fields: list[str]
    url: str


class Event(TypedDict):
    """One execution, as a poller sees it."""

    id: str
    requestId: str
    agentId: str
    userId: Annotated[str, Field(description="Who owns the API key: its workspace.")]
    status: StatusWord
    detail: Annotated[str, Field(description="Outlast's own word for the status.")]
    output: str | None
    error: str | None
    finalModel: Annotated[str | None, Field(description="The model that gave the last answer.")]
    browserStepCount: Annotated[int, Field(description="Recorded calls of browser tools.")]
    browserSessionSeconds: Annotated[
        int, Field(description="Whole seconds that its browser was open.")
    ]
    startedAt: str | None
    completedAt: str | None
    createdAt: str
    updatedAt: str
    truncated: NotRequired[Truncated]


class EventPage(TypedDict):
    """A page of the events, newest first."""

    data: list[Event]
    nextToken: str | None
