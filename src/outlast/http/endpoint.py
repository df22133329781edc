"""A room's endpoint as data: the table for routing and the OpenAPI document.

Tests of scopes and of the client read it too. A handler takes the request and the services, and
returns a ready response; it parses the request itself, with the models named here.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from types import UnionType
from typing import Any, Final, Literal, TypeAlias, get_args, get_origin

from pydantic import BaseModel
from starlette.responses import Response

from outlast.http.call import Call
from outlast.model.workspace import Scope
from outlast.services.all import Services

Handler: TypeAlias = Callable[[Call, Services], Awaitable[Response]]
Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

PUBLIC: Final[tuple[Scope, ...]] = ()
"""The scope of an endpoint that needs no key."""

IDEMPOTENCY_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "The same key and body within 24 hours give the first answer again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}
LAST_EVENT_ID: Final = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "An event id of this stream: go on behind it. Wins over `after`.",
    "schema": {"type": "string"},
}
TICKET: Final = {
    "name": "ticket",
    "in": "query",
    "description": "A stream ticket of this execution, in the place of a key.",
    "schema": {"type": "string"},
}
"""In `headers`: the endpoint accepts a stream ticket of the `executionId` in its path."""
PREFER: Final = {
    "name": "Prefer",
    "in": "header",
    "description": "`respond-async`: answer 202 at once. `wait=N`: after N seconds at the latest.",
    "schema": {"type": "string"},
    "examples": {"async": {"value": "respond-async"}, "wait": {"value": "wait=10"}},
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An endpoint's response with one status."""

    description: str
    model: type | UnionType | None = None
    """Model of its JSON: a TypedDict, one of several (`A | B`), or a list of one (`list[A]`)."""
    content: Mapping[str, Any] = field(default_factory=dict)
    """Other media types, as OpenAPI describes them."""

    @property
    def models(self) -> tuple[type, ...]:
        """The TypedDicts of its model."""
        return () if self.model is None else get_args(self.model) or (self.model,)

    @property
    def is_list(self) -> bool:
        """Whether its JSON is a list of its model."""
        return get_origin(self.model) is list


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path: its input, handler and responses."""

    method: Method
    path: str
    handler: Handler
    """Its docstring is the description in the document."""
    _: KW_ONLY
    scope: Scope | tuple[Scope, ...]
    """Required scope of the key: this one, one of several, or PUBLIC."""
    name: str
    """Id of the operation in the document."""
    summary: str
    tag: str
    answers: Mapping[int, Answer]
    """Responses by status; the lowest is the usual one."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Path parameter → description."""
    query: type[BaseModel] | None = None
    headers: tuple[Mapping[str, Any], ...] = ()
    """Headers and shared query parameters, such as TICKET."""
    body: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()
    """Error statuses besides those that every endpoint may return."""
    rest: str | None = None
    """The path's last parameter, if it may contain slashes."""
    bodyless: bool = False
    """Accepts only requests without a body; the document describes the endpoint after it."""

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """Scopes of which the key must have one."""
        return (self.scope,) if isinstance(self.scope, Scope) else self.scope

    @property
    def takes_ticket(self) -> bool:
        """Whether it accepts a stream ticket."""
        return TICKET in self.headers


def event_stream(types: tuple[str, ...]) -> dict[str, Any]:
    """Return a stream's media type: the schema is that of one event, as OpenAPI tools expect.

    types: values of `type` in an event's JSON.
    """
    kinds = {"type": "string", "enum": list(types)}
    data = {
        "type": "string",
        "contentMediaType": "application/json",
        "contentSchema": {"type": "object", "required": ["type"], "properties": {"type": kinds}},
    }
    cursor = {"type": "string", "description": "An opaque cursor, for `Last-Event-ID`."}
    return {
        "schema": {
            "type": "object",
            "description": "One server-sent event.",
            "properties": {"id": cursor, "data": data},
            "required": ["data"],
        },
        "example": 'id: 1-3\ndata: {"type":"text_delta","text":"Hello"}\n\n',
    }
