"""A pooler in transaction mode: what pgbouncer before 1.21 does to sessions, and no more.

A client has a server's connection from its first message to the end of its transaction; then the
next client gets it, with whatever was left there. Nothing is parsed but the ends of messages.
"""

import asyncio
import contextlib
from typing import Final, Self
from urllib.parse import urlsplit

_SSL_REQUEST: Final = 80877103
_GSS_REQUEST: Final = 80877104
_STARTUP: Final = 196608
_IDLE: Final = b"I"

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Pooler:
    """Listens on a port of its own before one database."""

    def __init__(self, url: str, *, size: int = 10) -> None:
        """At most `size` connections to the server; a client that finds none waits."""
        self._to = urlsplit(url)
        self._places = asyncio.Semaphore(size)
        self._idle: list[Stream] = []
        self._made: list[Stream] = []
        self._greeting = b""
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return self._to._replace(netloc=f"{self._to.username}@127.0.0.1:{port}").geturl()

    async def __aenter__(self) -> Self:
        self._idle.append(await self._connect())
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for stream in self._made:
            stream[1].close()

    async def _connect(self) -> Stream:
        assert self._to.hostname
        stream = await asyncio.open_connection(self._to.hostname, self._to.port)
        name = self._to.path.removeprefix("/")
        body = f"user\0{self._to.username}\0database\0{name}\0\0".encode()
        stream[1].write((len(body) + 8).to_bytes(4) + _STARTUP.to_bytes(4) + body)
        greeting = b""
        while not greeting.endswith(_IDLE):
            greeting += await _message(stream[0])
        self._greeting = greeting
        self._made.append(stream)
        return stream

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            if await _greeted(reader, writer):
                writer.write(self._greeting)
                await self._transactions(reader, writer)
        writer.close()

    async def _transactions(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        message = await _message(reader)
        while not message.startswith(b"X"):
            async with self._places:
                server = self._idle.pop() if self._idle else await self._connect()
                message = await _transaction(message, (reader, writer), server)
                self._idle.append(server)
            message = message or await _message(reader)


async def _transaction(message: bytes, client: Stream, server: Stream) -> bytes:
    """Carry messages until the server is in no transaction; a goodbye that came within one."""
    status = b""
    while status != _IDLE:
        if message.startswith(b"X"):
            return message
        server[1].write(message)
        if message[:1] in b"QS":  # what is answered: a query, or the end of a prepared one
            answer = b""
            while not answer.startswith(b"Z"):
                answer = await _message(server[0])
                client[1].write(answer)
            status = answer[-1:]
        if status != _IDLE:
            message = await _message(client[0])
    return b""


async def _greeted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Whether a client wants a session, after the answer that there is no encryption."""
    while True:
        length = int.from_bytes(await reader.readexactly(4))
        code = int.from_bytes((await reader.readexactly(length - 4))[:4])
        if code not in (_SSL_REQUEST, _GSS_REQUEST):
            return code >> 16 == _STARTUP >> 16
        writer.write(b"N")


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(int.from_bytes(head[1:]) - 4)
