"""The network between a process and its Postgres, which a test may cut."""

import asyncio
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
    """Connections stay and nothing passes, not even their end: nobody says anything."""


class Network:
    """A way to Postgres over a TCP proxy. Connections that were once cut are never mended."""

    def __init__(self, url: str) -> None:
        """`url` is the database's at the other end."""
        self._there = urlsplit(url)
        self._server: asyncio.Server | None = None
        self._port = 0
        self._links: set[_Link] = set()
        self._cut: Cut | None = None

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()
        while self._links:
            self.break_off()
            await asyncio.wait({link.carried for link in self._links})

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
                self.swallow_answers()
                for link in self._links:
                    link.asks = False

    def cut_behind(self, marker: bytes) -> asyncio.Event:
        """Swallow everything once somebody has sent this; set when that has happened."""
        happened = asyncio.Event()

        def sent(data: bytes) -> None:
            if marker in data and not happened.is_set():
                happened.set()
                self._cut = Cut.SWALLOWED
                self.swallow_answers()
                for link in self._links:
                    link.asks = False

        for link in self._links:
            link.sent = sent
        return happened

    def swallow_answers(self) -> None:
        """What the connections of now ask reaches Postgres; its answers are lost."""
        for link in self._links:
            link.answers = False

    def break_off(self) -> None:
        """End every connection of now."""
        for link in tuple(self._links):
            link.abort()

    async def mend(self) -> None:
        """New connections pass again."""
        self._cut = None
        await self._listen()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer, asyncio.current_task())
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

    def __init__(self, near: asyncio.StreamWriter, carried: "asyncio.Task[None] | None") -> None:
        self.asks = self.answers = True
        """Whether bytes pass, each way."""
        self.sent = _nothing
        """Hears what is asked, once it was passed on."""
        self.gone = asyncio.Event()
        assert carried is not None
        self.carried = carried
        """Ends when everything about this connection has."""
        self._ends = [near]

    def abort(self) -> None:
        for writer in self._ends:
            writer.transport.abort()
        self.gone.set()

    async def carry(self, near: asyncio.StreamReader, host: str, port: int) -> None:
        """Carry bytes until one end closes; a swallowed connection's other end hears nothing."""
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
                    self.sent(data)
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


def _nothing(_: bytes) -> None:
    pass
