"""A request as the handlers see it: who makes it, its body, query, path and headers."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel
from starlette.requests import Request

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
T = TypeVar("T")


class Call(Request):
    """A request; it has a principal unless its endpoint is public."""

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
        native: NewFold = self.app.state.main.surface.fold
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

    def require_storable_query(self) -> None:
        """Raises InvalidFilter if a query parameter has a NUL character: no database stores it."""
        if b"%00" not in self.scope["query_string"]:
            return
        for name, value in self.query_params.multi_items():
            if "\0" in value:
                raise InvalidFilter(f"{name}: must not contain a NUL character", param=name)

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
            raise refusal(
                f"{shown} is unknown; a strict request has no unknown fields or filters.",
                param=shown,
            )
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
        return self.cursor_as(Cursor.parse) or START

    def cursor_as(self, read: Callable[[str], T]) -> T | None:
        """Return the same, as `read` reads it; None: from the start. Raises InvalidCursor."""
        text = self.headers.get("last-event-id") or self.query_params.get("after")
        if not text:
            return None
        try:
            return read(text)
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
