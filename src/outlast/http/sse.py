"""Server-sent events: batches of ready frames to the client, one send each.

Source of the format: WHATWG HTML, 9.2 Server-sent events. A stream costs two tasks and
none per frame: one pumps, one waits for the client to go, and the response waits for either.

A blank line ends an event and stands nowhere else: the `openai` packages take one behind an `id:`
for an event without data, and raise. So a keep-alive and `retry:` are lines in front of the next
event; both take effect when their line is read.
"""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_COMMENT: Final = b": keep-alive\n"
RECONNECT: Final = b"retry: 1000\n"
"""Sent before the server leaves: come back in a second."""


_BREAKS: Final = tuple(
    (character.encode(), f"\\u{ord(character):04x}".encode()) for character in "\u0085\u2028\u2029"
)


def frame(cursor: str, data: bytes) -> bytes:
    """One event with its id; data is JSON and so has no line breaks.

    Three characters that are none in this format are line breaks to many a client's line reader:
    they are escaped, which only a JSON string can need.
    """
    if b"\xe2\x80" in data or b"\xc2\x85" in data:
        for raw, escaped in _BREAKS:
            data = data.replace(raw, escaped)
    return b"id: %b\ndata: %b\n\n" % (cursor.encode(), data)


class OpenStreams:
    """The streams of one server, so that it can end them when it leaves."""

    def __init__(self, keep_alive: float) -> None:
        """`keep_alive`: a silent stream says this often, in seconds, that it lives."""
        self.keep_alive = keep_alive
        self.leaving = False
        self._pumps: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._pumps)

    def start(self, pump: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a stream's pump where `end` finds it."""
        task = asyncio.get_running_loop().create_task(pump)
        self._pumps.add(task)
        task.add_done_callback(self._pumps.discard)
        return task

    def end(self) -> None:
        """Tell every client to come back, and end its stream; executions do not notice."""
        self.leaving = True
        for pump in self._pumps:
            pump.cancel()


class EventStream(Response):
    """Sends what the generator yields until it ends, the client goes or the server leaves.

    The generator yields bytes of whole frames; empty ones are skipped. It is always closed.
    """

    def __init__(
        self,
        batches: AsyncGenerator[bytes, None],
        streams: OpenStreams,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.body = b""
        self.media_type = "text/event-stream"
        self.init_headers(
            {
                "Content-Type": "text/event-stream; charset=utf-8",
                "Cache-Control": "no-cache, no-transform",
                "X-Accel-Buffering": "no",
            }
            | (headers or {})
        )
        del self.headers["content-length"]
        self._batches = batches
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        pump = self._streams.start(self._pump(send))
        gone = asyncio.get_running_loop().create_task(_gone(receive))
        try:
            await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left = gone.done()
            gone.cancel()
            pump.cancel()
            await asyncio.wait({pump, gone})
        if not pump.cancelled():
            pump.result()
        elif self._streams.leaving and not left:
            await send({"type": "http.response.body", "body": RECONNECT})

    async def _pump(self, send: Send) -> None:
        async with aclosing(self._batches) as batches:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            beat = _Beat(send, self._streams.keep_alive)
            try:
                async for batch in batches:
                    if batch:
                        beat.postpone()
                        await send({"type": "http.response.body", "body": batch, "more_body": True})
            finally:
                beat.stop()
        await send({"type": "http.response.body", "body": b""})


class _Beat:
    """Sends a comment whenever nothing else was sent for a while; one timer, moved lazily."""

    __slots__ = ("_last", "_loop", "_seconds", "_send", "_sending", "_timer")

    def __init__(self, send: Send, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._seconds = seconds
        self._last = self._loop.time()
        self._sending: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(seconds, self._tick)

    def postpone(self) -> None:
        """Something is being sent."""
        self._last = self._loop.time()

    def stop(self) -> None:
        self._timer.cancel()
        if self._sending is not None:
            self._sending.cancel()

    def _tick(self) -> None:
        due = self._last + self._seconds
        if self._loop.time() >= due:
            self._last = self._loop.time()
            due = self._last + self._seconds
            if self._sending is None or self._sending.done():
                self._sending = self._loop.create_task(self._comment())
        self._timer = self._loop.call_at(due, self._tick)

    async def _comment(self) -> None:
        await self._send({"type": "http.response.body", "body": _COMMENT, "more_body": True})


async def _gone(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
