"""The network between a process and its Postgres, which a test may cut."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from typing import Final, Self
from urllib.parse import urlsplit, urlunsplit

_CHUNK: Final = 65536


class Cut(StrEnum):
    """What happens to bytes that should pass."""

    REFUSED = "refused"
    """Connections break off and new ones are refused: Postgres' machine says so."""
    SWALLOWED = "swallowed"
    """Connections stay and nothing passes, not even their end."""


class Network:
    """A way to Postgres over a TCP proxy. Connections that were once cut are never mended."""

    def __init__(self, url: str) -> None:
        """`url` is the database's at the other end."""
        self._there = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._links: set[_Link] = set()
        self._cut: Cut | None = None
        self._sent: Callable[[_Link, bytes], None] = _nothing
        """Called with each request, once it was passed on."""

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()
        while self._links:
            self.break_off()
            await asyncio.wait([link.carried for link in self._links if link.carried])

    @property
    def url(self) -> str:
        """The database's URL over this network."""
        user = self._there.username
        return urlunsplit(self._there._replace(netloc=f"{user}@127.0.0.1:{self._port}"))

    async def cut(self, cut: Cut) -> None:
        """From now on nothing passes."""
        self._cut = cut
        match cut:
            case Cut.REFUSED:
                await self._close()
                self.break_off()
            case Cut.SWALLOWED:
                self._swallow()

    def cut_behind(self, marker: bytes) -> asyncio.Event:
        """Swallow everything once this was sent; set when that has happened."""
        happened = asyncio.Event()

        def sent(_: "_Link", data: bytes) -> None:
            if marker in data and not happened.is_set():
                happened.set()
                self._swallow()

        self._sent = sent
        return happened

    def lose_answer(self, marker: bytes) -> asyncio.Event:
        """Swallow the answer to whatever has this in it; set when that has happened."""
        happened = asyncio.Event()

        def sent(link: "_Link", data: bytes) -> None:
            if marker in data:
                link.answers = False
                happened.set()

        self._sent = sent
        return happened

    def break_off(self) -> None:
        """End every connection of now."""
        for link in tuple(self._links):
            link.abort()

    async def mend(self) -> None:
        """New connections pass again."""
        self._cut, self._sent = None, _nothing
        await self._listen()

    def _swallow(self) -> None:
        self._cut = Cut.SWALLOWED
        for link in self._links:
            link.asks = link.answers = False

    def _heard(self, link: "_Link", data: bytes) -> None:
        self._sent(link, data)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer, self._heard)
        self._links.add(link)
        try:
            if self._cut is None:
                await link.carry(reader, self._there.hostname or "", self._there.port or 0)
            else:
                await link.gone.wait()
        finally:
            link.abort()
            self._links.discard(link)


class _Link:
    """One connection through the proxy."""

    def __init__(self, near: asyncio.StreamWriter, sent: Callable[["_Link", bytes], None]) -> None:
        self.asks = self.answers = True
        """Whether bytes pass, each way."""
        self.gone = asyncio.Event()
        self.carried = asyncio.current_task()
        """Ends when everything about this connection has."""
        self._ends = [near]
        self._sent = sent

    def abort(self) -> None:
        for writer in self._ends:
            writer.transport.abort()
        self.gone.set()

    async def carry(self, near: asyncio.StreamReader, host: str, port: int) -> None:
        """Carry bytes until one end closes; a swallowed connection's other end gets nothing."""
        with suppress(OSError):
            far, writer = await asyncio.open_connection(host, port)
            self._ends.append(writer)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._ask(near, writer))
                group.create_task(self._answer(far, self._ends[0]))

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self.asks:
                    writer.write(data)
                    await writer.drain()
                    self._sent(self, data)
        await self._end(passes=self.asks)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK):
                if self.answers:
                    writer.write(data)
                    await writer.drain()
        await self._end(passes=self.answers)

    async def _end(self, *, passes: bool) -> None:
        if not passes:
            await self.gone.wait()
        self.abort()


def _nothing(_link: _Link, _data: bytes) -> None:
    pass
