"""A TCP proxy that cuts event streams at random places, after the headers of the answer."""

import asyncio
import contextlib
import random
from typing import Self

_HEAD_END = b"\r\n\r\n"
_STREAM = b"text/event-stream"


class CuttingProxy:
    """Stands before a server; cuts as many streams as requested, each `most` bytes in at most."""

    def __init__(self, port: int, *, cuts: int, most: int, seed: int = 0) -> None:
        self.cuts = cuts
        """How many are left."""
        self._port = port
        self._most = most
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._port)
        upwards = asyncio.create_task(_pump(reader, up_writer))
        try:
            await self._downwards(up_reader, writer)
        except asyncio.CancelledError:
            pass  # the proxy closes; nothing else cancels this task
        finally:
            upwards.cancel()
            writer.close()
            up_writer.transport.abort()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await upwards
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            self._connections.discard(task)

    async def _downwards(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left: int | None = None
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                if left is None and self.cuts and _STREAM in data:
                    left = data.index(_HEAD_END) + 4 + self._random.randint(0, self._most)
                if left is not None and self.cuts and len(data) >= left:  # others cut too
                    self.cuts -= 1
                    writer.write(data[:left])
                    await writer.drain()
                    self._cut(writer)
                    return
                left = None if left is None else left - len(data)
                writer.write(data)
                await writer.drain()

    def _cut(self, writer: asyncio.StreamWriter) -> None:
        """End a connection in the middle: by a reset, or as if the answer were complete."""
        if self._random.random() < 0.5:
            writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
