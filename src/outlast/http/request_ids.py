"""Request ids: every response says `X-Request-Id`, as do the logs and errors of its request."""

import re
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from outlast.model.clock import Clock

HEADER: Final = "X-Request-Id"
_PREFIX: Final = "req"
_SANE: Final = re.compile(rb"[A-Za-z0-9._:\-]{1,128}")


class RequestIds:
    """ASGI middleware that takes the client's id where it is sane, else makes one."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _sent(scope) or self._clock.new_id(_PREFIX)
        scope["outlast.request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        bind_contextvars(request=request_id)  # the task is the request's own
        await self._app(scope, receive, send_with_id)


def _sent(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SANE.fullmatch(value):
            return str(value, "ascii")
    return None
