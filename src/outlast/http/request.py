"""A request as handlers see it: its principal and content, and parsing shared by all rooms."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Final, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, WithJsonSchema
from starlette.requests import Request
from starlette.responses import Response

from outlast.http import body
from outlast.http.fold import NewFold
from outlast.http.open_streams import OpenStreams
from outlast.http.prefix import route_path
from outlast.http.spool import Spools
from outlast.http.unknown import unknown_fields
from outlast.model import ids
from outlast.model.error import (
    InvalidCursor,
    InvalidField,
    InvalidFilter,
    InvalidId,
    InvalidRequest,
    NotFound,
    Unauthenticated,
)
from outlast.model.event import START, Cursor
from outlast.model.workspace import Principal
from outlast.store.idempotency import Idempotency

IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
_LONGEST_KEY: Final = 255
_LONGEST_NAME: Final = 80
_FLAGS: Final = {"true": True, "1": True, "": True, "false": False, "0": False}

M = TypeVar("M", bound=BaseModel)


class Call(Request):
    """An authenticated request."""

    principal: Principal
    unknown: Sequence[str] = ()
    """Unknown names in the body and the query; they are ignored."""
    takes_ticket: bool = False
    """Whether its route accepts `?ticket=`."""
    _content: bytes | None = None

    @property
    def streams(self) -> OpenStreams:
        """The server's open streams."""
        streams: OpenStreams = self.app.state.streams
        return streams

    @property
    def native(self) -> NewFold:
        """The fold of the main room's stream."""
        native: NewFold = self.app.state.native
        return native

    @property
    def spools(self) -> Spools:
        """Storage of data that clients have not read yet."""
        return self.streams.spools

    @property
    def request_id(self) -> str:
        """The request's id, sent as `X-Request-Id`."""
        return request_id_of(self)

    def link(self, path: str) -> str:
        """Return a path as clients see it, with the prefix of a proxy or an outer app."""
        root: str = self.scope.get("root_path", "")
        return root + path

    async def content(self) -> bytes:
        """Return the body's bytes. Raises BodyTooLarge."""
        if self._content is None:
            self._content = await body.read(self, self.app.state.settings.max_body_bytes)
        return self._content

    async def body_as(self, model: type[M]) -> M:
        """Return the JSON body. Raises InvalidRequest, MissingField, InvalidField, BodyTooLarge."""
        fields = body.json_object(await self.content())
        read = body.body_as(model, fields)
        self._note([*unknown_fields(model, fields)], InvalidField)
        return read

    def query_as(
        self, model: type[M], *, lists: tuple[str, ...] = (), beside: tuple[str, ...] = ()
    ) -> M:
        """Return the query parameters; `lists` may be repeated, also as `NAME[]`.

        `beside` are parameters outside the model that are read elsewhere.

        Raises InvalidFilter.
        """
        sent = self.query_params
        given: dict[str, Any] = dict(sent)
        for name in lists:
            given[name] = [*sent.getlist(name), *sent.getlist(f"{name}[]")]
        read = body.query_as(model, given)
        own = {"strict", *beside, *(f"{name}[]" for name in lists)}
        if self.takes_ticket:
            own.add("ticket")
        unknown = [name for name in unknown_fields(model, given) if name not in own]
        self._note(unknown, InvalidFilter)
        return read

    def _note(self, unknown: list[str], refusal: type[InvalidField | InvalidFilter]) -> None:
        """Note unknown names for the response's warning. Raises `refusal` for a strict request."""
        if not unknown:
            return
        if self._is_strict():
            shown = unknown[0][:_LONGEST_NAME]
            raise refusal(f"{shown} is not known here; strict requests are refused.", param=shown)
        self.unknown = [*self.unknown, *unknown]

    def _is_strict(self) -> bool:
        given = self.query_params.get("strict")
        if given is None:
            strict: bool = self.app.state.settings.strict_requests
            return strict
        if given.lower() not in _FLAGS:
            raise InvalidFilter("strict: true or false.", param="strict")
        return _FLAGS[given.lower()]

    def path_text(self, name: str, missing: type[NotFound]) -> str:
        """Return a name or id in the path. Raises `missing` if no name can look like this."""
        text: str = self.path_params[name]
        if not text.isprintable():
            raise missing
        return text

    def path_id(self, name: str, prefix: str, missing: type[NotFound]) -> str:
        """Return an id in the path, in any spelling. Raises `missing` if it is not an id."""
        try:
            return ids.parse(prefix, self.path_params[name])
        except InvalidId as error:
            raise missing from error

    async def idempotency(self) -> Idempotency | None:
        """Return the idempotency key, if there is one. Raises InvalidRequest for an invalid one."""
        key = self.headers.get(IDEMPOTENCY_HEADER)
        if key is None:
            return None
        if not key or len(key) > _LONGEST_KEY or not key.isprintable():
            raise InvalidRequest(
                f"{IDEMPOTENCY_HEADER} is 1 to {_LONGEST_KEY} printable characters.",
                param=IDEMPOTENCY_HEADER,
            )
        route = f"{self.method} {route_path(self.scope)}\n".encode()
        digest = hashlib.sha256(route + await self.content()).hexdigest()
        return Idempotency(self.principal.key_id, key, digest)

    def cursor(self) -> Cursor:
        """Return where a stream resumes: `Last-Event-ID`, else `?after=`. Raises InvalidCursor."""
        text = self.headers.get("last-event-id") or self.query_params.get("after")
        if not text:
            return START
        try:
            return Cursor.parse(text)
        except InvalidCursor as error:
            raise InvalidCursor(param=self.cursor_param) from error

    @property
    def cursor_param(self) -> str:
        """Name of the header or parameter with the stream's cursor."""
        return "Last-Event-ID" if self.headers.get("last-event-id") else "after"


def request_id_of(request: Request) -> str:
    """Return the request's id, as set by the middleware."""
    found: str = request.scope.get("outlast.request_id", "")
    return found


def secret_of(request: Request) -> str:
    """Return the API key: `Authorization: Bearer k`, `Authorization: k` or `X-Api-Key: k`.

    Raises Unauthenticated.
    """
    sent = request.headers.get("authorization", "").strip()
    scheme, _, rest = sent.partition(" ")
    secret = rest.strip() if scheme.lower() == "bearer" else sent
    secret = secret or request.headers.get("x-api-key", "").strip()
    if not secret:
        raise Unauthenticated
    return secret


# --- kept answers


def kept(response: Response) -> str:
    """Return a response as stored for requests that repeat its idempotency key."""
    headers = {
        name: value
        for name, value in response.headers.items()
        if name not in ("content-length", "content-type")
    }
    answer = {
        "status": response.status_code,
        "headers": headers,
        "body": bytes(response.body).decode(),
    }
    return orjson.dumps(answer).decode()


def replayed(answer: str) -> Response:
    """Return a stored response, marked as replayed."""
    known = orjson.loads(answer)
    response = Response(known["body"], known["status"], known["headers"], "application/json")
    return mark_replayed(response)


def mark_replayed(response: Response) -> Response:
    """Mark the response as a replay of the first request's."""
    response.headers["Idempotency-Replayed"] = "true"
    return response


# --- query parameters

_SPACE_FOR_PLUS: Final = re.compile(r"(T.*) (\d\d:?\d\d)$")
"""Matches an offset whose plus sign was not percent-encoded."""
_DAY: Final = timedelta(days=1)


def moment(text: Any) -> int:
    """Read ISO 8601 as milliseconds since the epoch; a date is its start. Raises ValueError."""
    return _read_moment(text)[0]


def end_of(text: Any) -> int:
    """Return the first millisecond after a moment, or after a date's day. Raises ValueError."""
    millis, is_day = _read_moment(text)
    return millis + (_DAY // timedelta(milliseconds=1) if is_day else 1)


def _read_moment(text: Any) -> tuple[int, bool]:
    if not isinstance(text, str):
        raise ValueError("must be an ISO 8601 date or time")  # noqa: TRY004 - pydantic reads ValueError
    text = _SPACE_FOR_PLUS.sub(r"\1+\2", text.strip())
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return _millis(_read_time(text)), False
    return _millis(datetime(day.year, day.month, day.day, tzinfo=UTC)), True


def _read_time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError("must be an ISO 8601 date or time, as 2026-03-15T10:30:00Z") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _millis(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _plain(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    return text


def read_id(prefix: str, text: str) -> str:
    """Return an id of a parameter, in any spelling. Raises ValueError."""
    try:
        return ids.parse(prefix, text)
    except InvalidId as error:
        raise ValueError(f"must be an id of the form {prefix}_…") from error


_TIME_SCHEMA: Final = {
    "type": "string",
    "description": "ISO 8601, or a bare date.",
    "examples": ["2026-03-15T10:30:00Z", "2026-03-15"],
}

Moment = Annotated[int, BeforeValidator(moment), WithJsonSchema(_TIME_SCHEMA)]
"""A query parameter: ISO 8601, converted to milliseconds."""
EndMoment = Annotated[int, BeforeValidator(end_of), WithJsonSchema(_TIME_SCHEMA)]
"""A query parameter that includes the moment or day that it names."""
Headers = Annotated[
    dict[str, str],
    Field(
        max_length=64,
        description="Sent with every call of an HTTP tool, unless the tool sets the same header. "
        "Kept encrypted, gone when the execution ends.",
    ),
]
"""Headers to forward."""
User = Annotated[
    str,
    Field(
        min_length=1,
        max_length=256,
        description="The end user: kept, filtered by and passed to tools. Default: the "
        "conversation's.",
        examples=["user_4711"],
    ),
]
Plain = Annotated[str, AfterValidator(_plain)]
"""Text that a database can store."""
ExecutionId = Annotated[str, AfterValidator(partial(read_id, ids.EXECUTION))]
ConversationId = Annotated[str, AfterValidator(partial(read_id, ids.CONVERSATION))]
AgentId = Annotated[str, AfterValidator(partial(read_id, ids.AGENT))]


@contextmanager
def filter_value(param: str) -> Iterator[None]:
    """Raise InvalidFilter in place of NotFound: the object that a filter names must exist."""
    try:
        yield
    except NotFound as error:
        raise InvalidFilter(error.message, param=param) from error
