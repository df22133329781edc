"""An endpoint of a room as data: the one table that routing and the document are made from.

Tests of scopes and of the client read it too. A handler takes the request and the services, and
returns a ready response; it parses by itself, with the models that are named here.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from types import UnionType
from typing import Any, Final, Literal, TypeAlias, get_args, get_origin

from pydantic import BaseModel
from starlette.responses import Response

from outlast.http.request import Call
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
"""An endpoint that has it among its headers opens to a ticket of the `executionId` in its path."""
PREFER: Final = {
    "name": "Prefer",
    "in": "header",
    "description": "`respond-async`: answer 202 at once. `wait=N`: after N seconds at the latest.",
    "schema": {"type": "string"},
    "examples": {"async": {"value": "respond-async"}, "wait": {"value": "wait=10"}},
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answers under one status."""

    description: str
    model: type | UnionType | None = None
    """Of its JSON: a TypedDict, one of several (`A | B`), or a list of one (`list[A]`)."""
    content: Mapping[str, Any] = field(default_factory=dict)
    """Other media types that it may have, as OpenAPI describes them."""

    @property
    def models(self) -> tuple[type, ...]:
        """The TypedDicts in it."""
        return () if self.model is None else get_args(self.model) or (self.model,)

    @property
    def is_list(self) -> bool:
        """Whether its JSON is a list of its model."""
        return get_origin(self.model) is list


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What one method of one path takes, does and answers."""

    method: Method
    path: str
    handler: Handler
    """Its docstring is the description in the document."""
    _: KW_ONLY
    scope: Scope | tuple[Scope, ...]
    """What the key must have: this scope, or one of these; or PUBLIC."""
    name: str
    """Of the operation in the document."""
    summary: str
    tag: str
    answers: Mapping[int, Answer]
    """By status; the lowest is the usual one."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Parameter in the path → what it names."""
    query: type[BaseModel] | None = None
    headers: tuple[Mapping[str, Any], ...] = ()
    """And parameters of the query that every request reads in the same way, such as TICKET."""
    body: type[BaseModel] | None = None
    errors: tuple[int, ...] = ()
    """Statuses beside those that every endpoint may answer."""
    bodyless: bool = False
    """Takes only requests without a body; the document describes the endpoint behind it."""

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The scopes of which a key must have one."""
        return (self.scope,) if isinstance(self.scope, Scope) else self.scope

    @property
    def takes_ticket(self) -> bool:
        """Whether it opens to a stream ticket."""
        return TICKET in self.headers


def event_stream(types: tuple[str, ...]) -> dict[str, Any]:
    """A stream's media type: the schema is that of one event, as tools of OpenAPI read it.

    types: the values of `type` in an event's JSON.
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
