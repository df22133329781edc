"""The load generator's HTTP/1.1 client: one protocol object a connection, no parsing beyond need.

It shares the processors with what it measures, so it costs little: about 20 µs a request.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; the body of a chunked one is its chunks joined, unless they were watched."""

    status: int
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises RuntimeError for any status but 2xx."""
        if not 200 <= self.status < 300:
            raise RuntimeError(f"HTTP {self.status}: {self.body[:300]!r}")
        return orjson.loads(self.body)


class ConnectionCut(ConnectionError):
    """The server closed the connection before the answer's end."""


Watch = Callable[[bytes], None]


class Connection(asyncio.Protocol):
    """One kept-alive connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answer: asyncio.Future[Answer] | None = None
        self._watch: Watch | None = None
        self._head: bytes | None = None
        self._body: list[bytes] = []

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect to a port of this machine."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, HOST, port)
        return connection

    async def ask(self, request: bytes, watch: Watch | None = None) -> Answer:
        """Send a request and wait for the answer's end; `watch` gets each chunk as it comes.

        Raises ConnectionCut.
        """
        if self._transport is None or self._transport.is_closing():
            raise ConnectionCut
        self._watch, self._head, self._body = watch, None, []
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's own class

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionCut())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head = bytes(self._buffer[:end]).lower() + b"\r\n"
            del self._buffer[: end + 4]
        if b"\r\ntransfer-encoding: chunked\r\n" in self._head:
            self._take_chunks()
        else:
            self._take_length(self._head)

    def _take_length(self, head: bytes) -> None:
        _, found, rest = head.partition(b"\r\ncontent-length:")
        length = int(rest.partition(b"\r\n")[0]) if found else 0
        if len(self._buffer) >= length:
            self._body.append(bytes(self._buffer[:length]))
            del self._buffer[:length]
            self._finish()

    def _take_chunks(self) -> None:
        buffer, start = self._buffer, 0
        while (line := buffer.find(b"\r\n", start)) >= 0:
            size = int(buffer[start:line], 16)
            end = line + 2 + size
            if len(buffer) < end + 2:
                break
            if size == 0:
                del buffer[: end + 2]
                self._finish()
                return
            self._receive(bytes(buffer[line + 2 : end]))
            start = end + 2
        del buffer[:start]

    def _receive(self, chunk: bytes) -> None:
        if self._watch is None:
            self._body.append(chunk)
        else:
            self._watch(chunk)

    def _finish(self) -> None:
        assert self._answer is not None
        assert self._head is not None
        status = int(self._head.split(b" ", 2)[1])
        if not self._answer.done():
            self._answer.set_result(Answer(status, b"".join(self._body)))


def get(path: str, key: str = "") -> bytes:
    """The bytes of a GET."""
    return f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\n{_bearer(key)}\r\n".encode()


def post(path: str, body: Any, key: str = "") -> bytes:
    """The bytes of a POST with a JSON body."""
    data = orjson.dumps(body)
    return (
        f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\n{_bearer(key)}content-type: application/json\r\n"
        f"content-length: {len(data)}\r\n\r\n"
    ).encode() + data


def _bearer(key: str) -> str:
    return f"authorization: Bearer {key}\r\n" if key else ""


async def ask_once(port: int, request: bytes) -> Answer:
    """One request on a connection of its own. Raises OSError when nothing listens."""
    connection = await Connection.open(port)
    try:
        return await connection.ask(request)
    finally:
        connection.close()
