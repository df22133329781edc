"""A server with bounds of a test's own, and raw connections to it."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Self, cast

import uvicorn

from outlast.http.connections import Bounds, Connections
from outlast.web import refusing
from tests.support.api import Api
from tests.support.waiting import BOUND

_RECEIVED_FAST: Final = 1 << 20
"""What the kernel and a reader take at once for a client that reads fast."""


@asynccontextmanager
async def bounded_server(
    api: Api,
    *,
    connections: int = 100,
    head: float = BOUND,
    body: float = BOUND,
    idle: float = BOUND,
    reserve: int = 2,
) -> AsyncIterator["BoundedServer"]:
    """The server behind real connections."""
    bounds = Bounds(connections, head, body, idle, reserve)
    bounded = Connections(bounds, refusing(api.app, api.core.clock), api.core.clock)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            api.app,
            http=cast("Any", bounded.protocol),
            lifespan="off",
            log_config=None,
            ws="none",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield BoundedServer(listener.getsockname()[1], api.key, bounded)
        finally:
            server.should_exit = True
            await serving


@dataclass(frozen=True, slots=True)
class BoundedServer:
    port: int
    key: str
    connections: Connections

    async def connect(self, received: int | None = None) -> "Connection":
        """A connection; `received` bounds what its own side takes before it is read."""
        if received is None:
            return Connection(*await asyncio.open_connection("127.0.0.1", self.port))
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", self.port))
        return Connection(*await asyncio.open_connection(sock=client, limit=received))

    async def fetch(self, path: str = "/v1/agents") -> tuple[int, dict[str, str], bytes]:
        """The answer to a whole request on a connection of its own."""
        async with await self.connect() as wire:
            await wire.send(self.request(path))
            return await wire.answer()

    def request(self, path: str = "/v1/agents", method: str = "GET", **headers: str) -> bytes:
        given = {"host": "x", "authorization": f"Bearer {self.key}", **headers}
        lines = [
            f"{method} {path} HTTP/1.1",
            *(f"{name.replace('_', '-')}: {given[name]}" for name in given),
        ]
        return "\r\n".join([*lines, "", ""]).encode()


class Connection:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the next answer."""
        async with asyncio.timeout(BOUND):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines)
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return int(first.split()[1]), headers, body

    async def rest(self) -> bytes:
        """What comes before the server closes the connection."""
        async with asyncio.timeout(BOUND):
            found = b""
            try:
                while piece := await self.reader.read(65536):
                    found += piece
            except ConnectionError:
                pass
            return found

    async def rest_in_chunks(self) -> bytes:
        """The rest of a chunked body, up to its last chunk, read as fast as it comes."""
        wire: socket.socket = self.writer.get_extra_info("socket")
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVED_FAST)
        cast("Any", self.reader)._limit = _RECEIVED_FAST
        found = bytearray()
        async with asyncio.timeout(BOUND):
            while not found.endswith(b"0\r\n\r\n"):
                found += await self.reader.read(_RECEIVED_FAST)
        return bytes(found)

    async def stays_open(self, seconds: float) -> bool:
        """Whether nothing comes, not even the end, for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self.reader.read(1)
        except TimeoutError:
            return True
        return False
