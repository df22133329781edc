"""Bounds of a server's connections: size and duration of requests, number of connections.

uvicorn has none of these bounds for httptools, so its protocol is extended. A deadline is a number
that one timer checks for all connections; a request costs no timer of its own.

    connection ─► waits for a head ─► sends a body ─► is answered ─► waits, or is closed

If there are too many, the one that has waited longest without a request is closed. If all are being
answered, a reserve accepts health checks; others get 503.
"""

import asyncio
from dataclasses import dataclass
from math import inf
from typing import Any, Final

import orjson
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from outlast.http.errors import Problem, error_object
from outlast.http.request_ids import REQUEST
from outlast.model.clock import Clock

HEAD_BYTES: Final = 64 * 1024
"""Maximum bytes of request line and headers, and of the trailers of a chunked body."""
RESERVE: Final = 32
"""Connections beyond the bound, for health checks only."""
_RESERVED_SECONDS: Final = 5.0
"""How long a connection of the reserve may take to send its request."""
_PIPELINED: Final = 100
"""Pipelined requests that may wait on one connection."""
_LOOK_SECONDS: Final = 1.0

_TOO_LARGE: Final = Problem(
    431,
    "invalid_request_error",
    "request_head_too_large",
    f"The request's line and headers are larger than {HEAD_BYTES} bytes.",
)
_TOO_SLOW: Final = Problem(
    408, "invalid_request_error", "request_timeout", "The request did not come in time."
)
_MALFORMED: Final = Problem(
    400, "invalid_request_error", "invalid_request", "The request is not valid HTTP/1.1."
)
_FULL: Final = Problem(
    503,
    "overloaded_error",
    "overloaded",
    "The server has as many connections as it may have.",
    headers={"Retry-After": "1"},
)
_REASONS: Final = {
    400: "Bad Request",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits for clients. Times are seconds."""

    connections: int
    head: float
    """From the connection, or the first byte of the next request, to the end of its headers."""
    body: float
    """Between two pieces of a request body, or of a response that the client reads."""
    idle: float
    """Between a response and the next request."""
    reserve: int = RESERVE


class Connections:
    """All connections of one server."""

    def __init__(self, bounds: Bounds, refuse: ASGIApp, clock: Clock) -> None:
        """`refuse`: the application for connections of the reserve."""
        self.bounds = bounds
        self.refuse = refuse
        self.clock = clock
        self._open: set[BoundedProtocol] = set()
        self._waiting: dict[BoundedProtocol, None] = {}
        """Idle connections, the longest idle first."""
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._open)

    def protocol(self, **given: Any) -> "BoundedProtocol":
        """Return the protocol of a new connection; uvicorn's `http`."""
        return BoundedProtocol(self, given)

    @property
    def full(self) -> bool:
        """Whether the bound is reached and only the reserve is left."""
        return len(self._open) > self.bounds.connections

    def opened(self, one: "BoundedProtocol") -> None:
        """Register a connection, and make room for it."""
        self._open.add(one)
        if self._timer is None:
            self._look(one.loop)
        if self.full:
            self._make_room()
        self._waiting[one] = None
        if self._beyond_reserve:
            one.answer(_FULL)
        elif self.full:
            one.reserve(_RESERVED_SECONDS)

    @property
    def _beyond_reserve(self) -> bool:
        return len(self._open) > self.bounds.connections + self.bounds.reserve

    def _make_room(self) -> None:
        """Close the longest idle one; one of the reserve only if that is full too."""
        longest = next(iter(self._waiting), None)
        if longest is not None and (self._beyond_reserve or not longest.is_reserved):
            self.closed(longest)
            longest.give_up()

    def closed(self, one: "BoundedProtocol") -> None:
        """Forget a connection."""
        self._open.discard(one)
        self._waiting.pop(one, None)

    def begun(self, one: "BoundedProtocol") -> None:
        """Note that the connection has a request."""
        self._waiting.pop(one, None)

    def waits(self, one: "BoundedProtocol") -> None:
        """Note that its request was answered."""
        if one in self._open:
            self._waiting[one] = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close connections past their deadline; runs while there is a connection."""
        now = loop.time()
        for one in [one for one in self._open if one.deadline <= now]:
            one.expire(now)
        bounds = self.bounds
        seconds = min(_LOOK_SECONDS, min(bounds.head, bounds.body, bounds.idle) / 4)
        self._timer = loop.call_later(seconds, self._look, loop) if self._open else None


class BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, connections: Connections, given: dict[str, Any]) -> None:
        super().__init__(**given)
        self.deadline = inf
        """On the loop's clock."""
        self._now = self.loop.time
        self._bounded = connections
        self._bounds = connections.bounds
        self.is_reserved = False
        """It was accepted by the reserve, for health checks only."""
        self._between = False
        """No byte of the next request has arrived."""
        self._in_head = True
        self._received = True
        """The body of the newest request is complete."""
        self._head = 0
        """Bytes of the head so far."""
        self._progress = False
        self._unread = 0
        """Bytes since the parser's last callback."""
        self._refused = False
        self._buffered = 0
        """Unread bytes of responses at the last check."""

    # --- what Connections wants of it

    def reserve(self, seconds: float) -> None:
        """Put it into the reserve, with this time to send a request."""
        self.is_reserved = True
        self.deadline = self._now() + min(seconds, self._bounds.head)

    def give_up(self) -> None:
        """Close it at once, dropping unsent data."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def answer(self, problem: Problem) -> None:
        """Send an error and close; in the middle of a response just close."""
        self.deadline = self._now() + self._bounds.body
        begun = self._is_answering and self.cycle.response_started
        if not begun and not self.transport.is_closing():
            request_id = self._bounded.clock.new_id(REQUEST)
            self.transport.write(_response(problem, request_id))
        self.transport.close()

    def expire(self, now: float) -> None:
        """Close it if it is past its deadline, unless the client is still reading."""
        left = self.transport.get_write_buffer_size()
        if left and left != self._buffered:
            self._buffered = left
            self.deadline = now + self._bounds.body
            return
        if not left and (self._unread or self._is_answering):
            self.answer(_TOO_SLOW)
        else:
            self.give_up()

    # --- asyncio's side

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.deadline = self._now() + self._bounds.head
        self._bounded.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._bounded.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        size = len(data)
        if size <= HEAD_BYTES:
            self._feed(data, size)
            return
        for start in range(0, size, HEAD_BYTES):
            if self.transport.is_closing():
                return
            piece = data[start : start + HEAD_BYTES]
            self._feed(piece, len(piece))

    def _feed(self, data: bytes, size: int) -> None:
        if self._between:
            self._between = False
            self.deadline = self._now() + self._bounds.head
        self._progress = False
        super().data_received(data)
        self._unread = 0 if self._progress else self._unread + size
        if self._refused or self._unread > HEAD_BYTES:
            self.answer(_TOO_LARGE)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, unlike uvicorn never in the middle of a response."""
        del msg
        self.answer(_MALFORMED)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._buffered = self.transport.get_write_buffer_size()
        self.deadline = self._now() + self._bounds.body

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._is_answering:
            self.deadline = inf if self._received else self._now() + self._bounds.body
        elif self._between:
            self.deadline = self._now() + self._bounds.idle

    # --- the parser's side

    def on_message_begin(self) -> None:
        self._head = 0
        self._in_head = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._head += len(url)
        if self._head > HEAD_BYTES:
            self._refused = True
        else:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Like uvicorn's, copied for speed; trailers are not headers."""
        self._head += len(name) + len(value) + 4
        if self._head > HEAD_BYTES:
            self._refused = True
        elif self._in_head:
            name = name.lower()
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._progress = True
        self._in_head = False
        if self._refused:
            return
        if self.is_reserved:
            self.app = self._bounded.refuse if self._bounded.full else self.config.loaded_app
        super().on_headers_complete()
        if self.scope["http_version"] == "1.0":
            _end_by_close(self.cycle)
        if self.is_reserved:
            self.cycle.keep_alive = False
        self._received = False
        self.deadline = self._now() + self._bounds.body
        if len(self.pipeline) > _PIPELINED:
            self._refused = True
        self._bounded.begun(self)

    def on_body(self, body: bytes) -> None:
        self._progress = True
        if self._refused:
            return
        super().on_body(body)
        if not self.cycle.response_complete:  # else what is left has one span in all
            self.deadline = self._now() + self._bounds.body

    def on_message_complete(self) -> None:
        self._progress = True
        if self._refused:
            return
        super().on_message_complete()
        self._received = True
        if self.cycle.response_complete:
            self._wait()
        else:
            self.deadline = inf

    def on_response_complete(self) -> None:
        """Like uvicorn's, with a deadline in place of its timer."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self.deadline = self._now() + self._bounds.body
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._received:
            self._wait()
        else:
            self.deadline = self._now() + self._bounds.body

    # --- within

    @property
    def _is_answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is not None and not cycle.response_complete

    def _wait(self) -> None:
        self._between = True
        self._buffered = self.transport.get_write_buffer_size()
        seconds = self._bounds.body if self._buffered else self._bounds.idle
        self.deadline = self._now() + seconds
        self._bounded.waits(self)


def _end_by_close(cycle: RequestResponseCycle) -> None:
    """Let the connection's end be that of a response of unknown length (RFC 9112, 6.1 and 6.3).

    HTTP/1.0 has no chunks, and uvicorn would send them.
    """
    send = cycle.send

    async def send_plainly(message: Any) -> None:
        cycle.expected_content_length += len(message.get("body", b""))
        await send(message)

    cycle.chunked_encoding = False
    cycle.send = send_plainly  # type: ignore[method-assign]


def _response(problem: Problem, request_id: str) -> bytes:
    body = orjson.dumps(error_object(problem, request_id))
    headers = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "x-request-id": request_id,
        "connection": "close",
        **problem.headers,
    }
    lines = [f"HTTP/1.1 {problem.status} {_REASONS[problem.status]}"]
    lines += [f"{name.lower()}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
