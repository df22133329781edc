"""Request ids: `X-Request-Id` of every response, also in the logs and errors of its request.

The same middleware sets the path's prefix and writes the access log: another one would cost every
request.
"""

import re
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from outlast.http.access_log import log_request
from outlast.http.prefix import NO_PREFIX, X_FORWARDED_PREFIX, Prefixes
from outlast.model.clock import Clock

_HEADER: Final = b"x-request-id"
REQUEST: Final = "req"
"""Prefix of the ids of requests."""
_BROKEN: Final = 500
"""The response if the application raises."""
_SANE: Final = re.compile(rb"[A-Za-z0-9._:\-]{1,128}")


class RequestIds:
    """ASGI middleware that uses the client's id if it is valid, else generates one."""

    def __init__(self, app: ASGIApp, clock: Clock, prefixes: Prefixes = NO_PREFIX) -> None:
        self._app = app
        self._clock = clock
        self._prefixes = prefixes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent, prefix = _sent(scope)
        request_id = sent or self._clock.new_id(REQUEST)
        scope["outlast.request_id"] = request_id
        if prefix is not None or self._prefixes.own:
            self._prefixes.place(scope, prefix)
        status, began = _BROKEN, self._clock.monotonic()
        headers: list[tuple[bytes, bytes]] = []
        id_header = (_HEADER, request_id.encode())

        async def send_with_id(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], [*message["headers"], id_header]
                message["headers"] = headers
            await send(message)

        bind_contextvars(request=request_id)  # the task is the request's own
        try:
            await self._app(scope, receive, send_with_id)
        finally:
            seconds = self._clock.monotonic() - began
            log_request(scope, request_id, status, seconds, headers)


def _sent(scope: Scope) -> tuple[str | None, bytes | None]:
    """Return the client's id, if it is valid, and the prefix that a proxy sent."""
    request_id = prefix = None
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE.fullmatch(value):
            request_id = str(value, "ascii")
        elif name == X_FORWARDED_PREFIX:
            prefix = value
    return request_id, prefix
