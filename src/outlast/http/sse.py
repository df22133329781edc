"""Sends server-sent events: batches of ready frames, slice by slice.

Source of the format: WHATWG HTML, 9.2 Server-sent events. A stream costs two tasks and none per
frame: one sends, one waits for the client to disconnect, and the response waits for either.

A blank line is written only at the end of an event: the `openai` packages read one after an `id:`
as an event without data, and raise. So a keep-alive and `retry:` are lines before the next event;
both take effect when their line is read.

A client that falls behind, because it reads nothing or little, costs no memory: its frames are
dropped with everything that made them. Once it reads again they are made again, from the log, and
what it has not read is kept in a file:

    live ─► behind ─► has read what was sent ─► from a file ─► live
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, closing, suppress
from typing import Final, TypeAlias
from zlib import crc32

import structlog
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from outlast.http.open_streams import OpenStreams
from outlast.http.scope import principal_of
from outlast.http.spool import LARGE, PIECE, Spool
from outlast.model.workspace import Principal

Batches: TypeAlias = AsyncGenerator[bytes, None]

_COMMENT: Final = b": keep-alive\n"
RECONNECT: Final = b"retry: 1000\n"
"""Sent before the server stops: reconnect in a second."""
_BEHIND: Final = 3
"""Consecutive checks, one every half second, after which a client that is behind counts as slow."""
_BEHIND_IF_LARGE: Final = 1
"""The same if the data held for it is large: others wait for their turn to hold as much."""
_CATCHING_UP_SECONDS: Final = 10.0
"""How long a large stream may take to reach the point up to which it was sent."""
_QUIET_SECONDS: Final = 0.1
"""Silence after which a log counts as read for now."""
_SPOOLED: Final = 64 * 1024 * 1024
"""Approximate bytes in the file of one stream."""
_GOODBYE_SECONDS: Final = 1.0

logger = structlog.get_logger(__name__)

_BREAKS: Final = tuple(
    (character.encode(), f"\\u{ord(character):04x}".encode()) for character in "\u0085\u2028\u2029"
)


def frame(cursor: str, data: bytes) -> bytes:
    """Return one event with its id; data is JSON and so has no line breaks.

    Three characters that are not line breaks in this format are in many clients' line readers: they
    are escaped; they occur only in JSON strings.
    """
    if b"\xe2\x80" in data or b"\xc2\x85" in data:
        for raw, escaped in _BREAKS:
            data = data.replace(raw, escaped)
    return b"id: %b\ndata: %b\n\n" % (cursor.encode(), data)


class EventStream(Response):
    """Sends what the generator yields until it ends, the client disconnects or the server stops.

    The generator yields bytes of whole frames; empty ones are skipped. It is always closed.
    """

    principal: Principal | None = None
    """Principal of the follower, once sending has begun."""

    def __init__(
        self,
        batches: Batches,
        streams: OpenStreams,
        headers: dict[str, str] | None = None,
        again: Callable[[], Batches] | None = None,
        goodbye: bytes = RECONNECT,
    ) -> None:
        """Prepare the stream.

        `again` yields the same bytes from the start, for a client that had stopped reading;
        `goodbye` is sent before the server stops.
        """
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
        self._batches: Batches | None = batches
        self._streams = streams
        self._again = again
        self._goodbye = goodbye
        self._pump: asyncio.Task[None] | None = None
        self._unsent = 0
        """Bytes of a batch in memory that the connection does not accept yet."""
        self._behind = 0
        """Consecutive checks that found such bytes."""
        self._parking = self._ended = False
        self.is_parked = False
        self._within = False
        """Whether the newest slice did not end its batch."""
        self._sent = self._sum = 0
        """Bytes that the connection has accepted, and their checksum."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.principal = principal_of(scope)
        if self._streams.leaving:
            await self._leave_at_once(send)
            return
        loop = asyncio.get_running_loop()
        self._pump = pump = loop.create_task(self._run(send), name="stream")
        self._streams.add(self)
        gone = loop.create_task(_gone(receive), name="stream_client")
        try:
            await asyncio.wait({pump, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            left = gone.done()
            gone.cancel()
            self._parking = False
            pump.cancel()
            await asyncio.wait({pump, gone})
            self._streams.remove(self)
        if not pump.cancelled():
            pump.result()
        elif not left and (self._ended or self._streams.leaving):
            await self._say_goodbye(send)

    def end(self) -> None:
        """End the stream at once."""
        self._ended = True
        self._parking = False
        if self._pump is not None:
            self._pump.cancel()

    def look(self) -> None:
        """Drop data held for a client that has been behind for a while."""
        self._behind = self._behind + 1 if self._unsent else 0
        if self._behind < (_BEHIND_IF_LARGE if self._unsent > LARGE else _BEHIND):
            return
        if self._again is None or self._pump is None or self._parking or self._ended:
            return
        self._parking = True
        self._pump.cancel()

    async def _leave_at_once(self, send: Send) -> None:
        """Begin and end the response of a client that has come while the server stops."""
        if (batches := self._batches) is not None:
            await batches.aclose()
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await self._say_goodbye(send)

    async def _say_goodbye(self, send: Send) -> None:
        """End the response; a client that does not accept that either is disconnected."""
        last = self._goodbye if self._streams.leaving and not self._within else b""
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                await send({"type": "http.response.body", "body": last})

    # --- the pump

    async def _run(self, send: Send) -> None:
        batches, self._batches = self._batches, None
        assert batches is not None
        beat: _Beat | None = None
        async with aclosing(batches):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            beat = _Beat(send, self._streams.keep_alive)
            try:
                whole = await self._send_all(send, beat, batches)
                while not whole:
                    del batches  # with the log's page, the frames and whatever else it holds
                    self.is_parked = True
                    await send({"type": "http.response.body", "body": b"", "more_body": True})
                    self.is_parked = False
                    whole = await self._send_spooled(send, beat)
                    if not whole:
                        batches = self._rest()
                        whole = await self._send_all(send, beat, batches)
            finally:
                beat.stop()
        await send({"type": "http.response.body", "body": b""})

    async def _send_all(self, send: Send, beat: "_Beat", batches: Batches) -> bool:
        """Send all; return False if the client is behind and the rest was dropped."""
        rendering = self._streams.spools.rendering
        try:
            async with aclosing(batches):
                async for batch in batches:
                    if len(batch) <= LARGE or self._again is None:
                        await self._send_batch(send, beat, batch)
                    elif rendering.locked():
                        return False  # and is made again in its turn
                    else:
                        async with rendering:
                            await self._send_batch(send, beat, batch)
                    del batch
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._parking or task is None or task.uncancel():
                raise
            self._parking = False
            self._unsent = self._behind = 0
            return False
        return True

    async def _send_batch(self, send: Send, beat: "_Beat", batch: bytes) -> None:
        size = len(batch)
        for start in range(0, size, PIECE):
            beat.postpone()
            piece = batch if size <= PIECE else batch[start : start + PIECE]
            self._unsent = size - start
            await self._send_piece(send, beat, piece, last=self._unsent <= PIECE)
            self._unsent = 0

    async def _send_piece(self, send: Send, beat: "_Beat", piece: bytes, *, last: bool) -> None:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        self._sent += len(piece)
        self._sum = crc32(piece, self._sum)
        self._within = beat.is_quiet = not last

    # --- what was dropped

    async def _send_spooled(self, send: Send, beat: "_Beat") -> bool:
        """Send what exists by now, from a file; return whether that was up to the stream's end."""
        try:
            async with self._streams.spools.rendering:
                spool, whole = await self._spool()
        except OSError as error:
            logger.warning("answer.in_memory", reason=str(error))
            return False
        with closing(spool):
            left = spool.size
            self.is_parked = True
            async for piece in spool.pieces():
                left -= len(piece)
                beat.postpone()
                await self._send_piece(send, beat, piece, last=not left)
        self.is_parked = False
        return whole

    async def _spool(self) -> tuple[Spool, bool]:
        spool = self._streams.spools.open()
        try:
            async with aclosing(self._rest()) as batches:
                patience = _CATCHING_UP_SECONDS
                with suppress(TimeoutError):
                    while spool.size < _SPOOLED:
                        async with asyncio.timeout(patience):
                            batch = await anext(batches, None)
                        if batch is None:
                            return spool, True
                        await spool.write(batch)
                        patience = _QUIET_SECONDS
                        del batch
        except BaseException:
            spool.close()
            raise
        return spool, False

    async def _rest(self) -> Batches:
        """Yield the stream again, after what was sent; nothing if it is no longer the same.

        Begins with an empty batch once it has reached that point.
        """
        assert self._again is not None
        left, checksum = self._sent, 0
        async with aclosing(self._again()) as batches:
            if not left:
                yield b""
            async for batch in batches:
                seen = batch[:left]
                if seen:
                    checksum = crc32(seen, checksum)
                    left -= len(seen)
                    if not left and checksum != self._sum:
                        return  # the client comes back by its cursor
                    if not left:
                        yield b""
                if len(batch) > len(seen):
                    batch = batch[len(seen) :]  # noqa: PLW2901 - the whole is let go
                    del seen
                    yield batch


class _Beat:
    """Sends a comment if nothing else was sent for a while; one timer, moved lazily."""

    __slots__ = ("_last", "_loop", "_seconds", "_send", "_sending", "_timer", "is_quiet")

    def __init__(self, send: Send, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._send = send
        self._seconds = seconds
        self._last = self._loop.time()
        self._sending: asyncio.Task[None] | None = None
        self._timer = self._loop.call_later(seconds, self._tick)
        self.is_quiet = False
        """A frame was sent in part: no comment may interrupt it."""

    def postpone(self) -> None:
        """Postpone the comment: something is being sent."""
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
            if not self.is_quiet and (self._sending is None or self._sending.done()):
                self._sending = self._loop.create_task(self._comment(), name="stream_comment")
        self._timer = self._loop.call_at(due, self._tick)

    async def _comment(self) -> None:
        await self._send({"type": "http.response.body", "body": _COMMENT, "more_body": True})


async def _gone(receive: Receive) -> None:
    """Return when the client has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass
