"""A fake OpenAI-compatible provider on loopback, cheap enough to stand under a benchmark.

It speaks HTTP/1.1 by hand and answers `POST …/chat/completions` from chunks made once. The model
name of a request says how it behaves:

    words-N[-delay-MS]  N words, one chunk each, MS milliseconds apart (0: all in one write)
    echo                the last user message, word by word
    tool, tools-N       a call of the first tool (N parallel calls), then, once answered, 12 words
    reasoning           two pieces of reasoning, then 12 words
    no-usage            12 words and no usage
    status-N            an error with that status; 429 also says Retry-After: 7
    too-long            400 with the code context_length_exceeded
    garbage             200 with a body that is no JSON
    die-after-N         N words, then the connection is cut
    hang                headers and one word, then nothing
    flaky-N             N times 500 for the same user text, then 12 words

Usage is 10 tokens for each message, all but the last two of them cached, and one for each word.
A test may also lay down the raw body for a model name of its own in `replies`, for any path.
Run by itself: `python -m tests.support.provider --port 0`, which prints its port.
"""

import argparse
import asyncio
import re
import ssl
from dataclasses import dataclass
from typing import Any, Self

import orjson

from tests.support.provider_chunks import (
    LAST_CHUNK,
    http_chunk,
    last_user_text,
    stream_chunks,
    whole,
    words,
)
from tests.support.waiting import BOUND

STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
ANSWER_WORDS = 12


@dataclass(frozen=True)
class Reply:
    """A raw answer: each part is one chunk of the body; its end may be a cut, or silence."""

    parts: tuple[bytes, ...]
    content_type: str = "text/event-stream"
    cut: bool = False
    hang: bool = False
    status: str = "200 OK"
    headers: str = ""


class FakeProvider:
    """The server and what it saw."""

    def __init__(
        self,
        words: int = ANSWER_WORDS,
        delay_ms: float = 0,
        *,
        record: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._tls = tls
        self.words = words
        self.delay_ms = delay_ms
        self.record = record
        self.replies: dict[str, Reply] = {}
        self.requests: list[dict[str, Any]] = []
        self.headers: list[bytes] = []
        self.request_count = 0
        self.connection_count = 0
        self.open: set[_Connection] = set()
        self.cut_by_client = 0
        self.failures: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def start(self, port: int = 0) -> "FakeProvider":
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self), "127.0.0.1", port, backlog=4096, ssl=self._tls
        )
        return self

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def reply_to(self, request: dict[str, Any]) -> Reply | None:
        """The raw answer to a request; None where the model's name says how to answer."""
        return self.replies.get(str(request.get("model", "")))

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for connection in list(self.open):
            connection.transport.abort()
        await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def wait_requests(self, count: int) -> None:
        """Return once so many requests have come in."""
        await self._wait(lambda: self.request_count >= count)

    async def wait_cut(self, count: int = 1) -> None:
        """Return once clients have closed so many connections in the middle of an answer."""
        await self._wait(lambda: self.cut_by_client >= count)

    async def wait_idle(self) -> None:
        """Return once no connection is open."""
        await self._wait(lambda: not self.open)

    async def _wait(self, condition: Any) -> None:
        async with asyncio.timeout(BOUND):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def changed(self) -> None:
        self._changed.set()


class _Connection(asyncio.Protocol):
    """One client; one request at a time, kept alive."""

    transport: asyncio.Transport

    def __init__(self, provider: FakeProvider) -> None:
        self.provider = provider
        self.buffer = b""
        self.answering = False
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]  # uvloop's own class
        self.provider.open.add(self)
        self.provider.connection_count += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.provider.open.discard(self)
        if self.timer is not None:
            self.timer.cancel()
        if self.answering:
            self.provider.cut_by_client += 1
        self.provider.changed()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self.buffer[:end]
        found = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
        length = int(found[1]) if found else 0
        if len(self.buffer) < end + 4 + length:
            return
        body = self.buffer[end + 4 : end + 4 + length]
        self.buffer = self.buffer[end + 4 + length :]
        self.answer(head, orjson.loads(body) if body else {})

    def answer(self, head: bytes, request: dict[str, Any]) -> None:
        provider = self.provider
        provider.request_count += 1
        if provider.record:
            provider.requests.append(request)
            provider.headers.append(head)
        provider.changed()
        self.answering = True
        name = str(request.get("model", ""))
        if (reply := provider.reply_to(request)) is not None:
            self.send_reply(reply)
        elif not request.get("stream") and not name.startswith(("status", "too-long", "garbage")):
            self.send_json(200, whole(request, provider.words))
        else:
            self.behave(name, request)

    def behave(self, name: str, request: dict[str, Any]) -> None:
        kind, *rest = re.findall(r"[a-z]+|\d+", name) or ["words"]
        number = int(rest[0]) if rest and rest[0].isdigit() else 0
        match kind:
            case "status":
                self.send_error(number)
            case "too":
                self.send_error(400, "context_length_exceeded")
            case "garbage":
                self.send(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n<html>oh</htm")
                self.end()
            case "die":
                self.send(STREAM_HEAD + b"".join(words(number)), last=False)
                self.cut()
            case "hang":
                self.send(STREAM_HEAD + words(1)[0], last=False)
            case "flaky" if self.fails_once_more(number, request):
                self.send_error(500)
            case _:
                delay = float(rest[2]) if len(rest) == 3 and rest[1] == "delay" else None
                self.stream(stream_chunks(name, request, self.provider.words), delay)

    def fails_once_more(self, times: int, request: dict[str, Any]) -> bool:
        text = last_user_text(request)
        seen = self.provider.failures.get(text, 0)
        self.provider.failures[text] = seen + 1
        return seen < times

    def stream(self, chunks: list[bytes], delay_ms: float | None) -> None:
        delay = (self.provider.delay_ms if delay_ms is None else delay_ms) / 1000
        if not delay:
            self.send(STREAM_HEAD + b"".join(chunks))
            self.end()
            return
        self.send(STREAM_HEAD, last=False)
        loop = asyncio.get_running_loop()
        self.pace(loop, chunks, 0, loop.time(), delay)

    def pace(
        self,
        loop: asyncio.AbstractEventLoop,
        chunks: list[bytes],
        index: int,
        start: float,
        delay: float,
    ) -> None:
        if index >= len(chunks) - 3:  # finish, usage and [DONE] come with the last word
            self.send(b"".join(chunks[index:]))
            self.end()
            return
        self.send(chunks[index], last=False)
        due = start + (index + 1) * delay
        self.timer = loop.call_at(due, self.pace, loop, chunks, index + 1, start, delay)

    def send(self, data: bytes, *, last: bool = True) -> None:
        if last:
            self.answering = False
        self.transport.write(data)

    def end(self) -> None:
        self.answering = False
        if self.buffer:
            self.data_received(b"")

    def cut(self) -> None:
        self.answering = False
        self.transport.close()

    def send_reply(self, reply: Reply) -> None:
        head = f"HTTP/1.1 {reply.status}\r\ncontent-type: {reply.content_type}\r\n{reply.headers}"
        self.send(f"{head}transfer-encoding: chunked\r\n\r\n".encode(), last=False)
        for part in reply.parts:
            self.send(http_chunk(part), last=False)
        if reply.cut:
            self.cut()
        elif not reply.hang:
            self.send(LAST_CHUNK)
            self.end()

    def send_error(self, status: int, code: str = "fake_error") -> None:
        message = f"The fake provider is set to answer {status}; your key was sk-secret123456789."
        error = {"message": message, "type": "fake", "param": None, "code": code}
        self.send_json(status, {"error": error})

    def send_json(self, status: int, value: Any) -> None:
        body = orjson.dumps(value)
        wait = "retry-after: 7\r\n" if status == 429 else ""
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{wait}"
        self.send(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        self.end()


async def serve(port: int, words: int, delay_ms: float) -> None:
    provider = await FakeProvider(words, delay_ms, record=False).start(port)
    print(provider.port, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake OpenAI-compatible provider on loopback.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--words", type=int, default=ANSWER_WORDS)
    parser.add_argument("--delay-ms", type=float, default=0)
    options = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        run = asyncio.run
    else:
        run = uvloop.run
    run(serve(options.port, options.words, options.delay_ms))


if __name__ == "__main__":
    main()
