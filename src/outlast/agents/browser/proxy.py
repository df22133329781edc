"""The proxy of one browser context: everything that its pages load is dialled here.

page ──► Chromium ──► CONNECT or GET http://… ──► Reach ──► DNS ──► dial guard ──► the address

A name is resolved once, each address is checked, and the checked address is dialled: the DNS has no
second say. A plain request has a connection of its own, so that a connection serves one host only.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from outlast.agents.browser.reach import Reach
from outlast.agents.dial import AddressRefused, refusal

Connection: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Resolve: TypeAlias = Callable[[str, int], Awaitable[list[str]]]
"""Returns the addresses of a host."""

REFUSED: Final = "x-outlast-refused"
"""Header of an answer that is the proxy's own."""
_HEAD_BYTES: Final = 262_144
_PIECE: Final = 65_536
_HEAD_SECONDS: Final = 60.0
_CONNECT_SECONDS: Final = 10.0
_HOP_BY_HOP: Final = (b"connection", b"proxy-connection", b"keep-alive", b"proxy-authorization")
_REMEMBERED: Final = 20
_INTERIM: Final = (b"100", b"102", b"103")


async def addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a host, in the order in which to try them. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=1)  # SOCK_STREAM
    return list(dict.fromkeys(str(place[0]) for *_, place in found))


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class GuardedProxy:
    """An HTTP proxy on loopback for one browser context."""

    def __init__(self, reach: Reach, resolve: Resolve = addresses) -> None:
        self._reach = reach
        self._resolve = resolve
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self.refused: deque[str] = deque(maxlen=_REMEMBERED)
        """The newest refusals, each with its reason; the reader clears them."""

    async def start(self) -> str:
        """Begin to listen on a free port of 127.0.0.1; return the proxy's URL."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_HEAD_BYTES)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Stop listening, and cut every connection."""
        if self._server is not None:
            self._server.close()
        for writer in tuple(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            await self._pass(head, reader, writer)
        except (OSError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError):
            writer.transport.abort()  # of no use to a page: it sees that the connection is cut
        finally:
            self._open.discard(writer)
            writer.close()

    async def _pass(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        line, _, headers = head.partition(b"\r\n")
        method, url, version = line.split(b" ")
        target, path = _target(method, url)
        try:
            there, onward = await self._dial(target)
        except AddressRefused as error:
            self.refused.append(f"{target}: {error}")
            _answer(writer, "403 Forbidden", f"Outlast does not open {target}: {error}.")
            return
        except OSError:
            _answer(writer, "502 Bad Gateway", f"{target} cannot be reached.")
            return
        self._open.add(onward)
        try:
            if method == b"CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                await _both(reader, onward, there, writer)
                return
            onward.write(b"%b %b %b\r\n" % (method, path, version) + _single(headers))
            await _exchanged(reader, onward, there, writer)
        finally:
            self._open.discard(onward)
            onward.close()

    async def _dial(self, target: Target) -> Connection:
        """Connect to a checked address of the target. Raises AddressRefused, OSError."""
        if reason := self._reach.refusal(target.host, target.port):
            raise AddressRefused(reason)
        private = self._reach.may_be_private(target.host, target.port)
        failed: OSError = OSError("no address")
        async with asyncio.timeout(_CONNECT_SECONDS):
            for address in await self._resolve(target.host, target.port):
                if reason := refusal(address, private=private):
                    failed = AddressRefused(reason)
                    continue
                try:
                    return await asyncio.open_connection(address, target.port, limit=_HEAD_BYTES)
                except OSError as error:
                    failed = error
        raise failed


def _target(method: bytes, url: bytes) -> tuple[Target, bytes]:
    """Return where a request goes, and its path there. Raises ValueError."""
    if method == b"CONNECT":
        parts = urlsplit(f"//{url.decode('ascii')}")
        host, port, path = parts.hostname, parts.port, b""
    else:
        parts = urlsplit(url.decode("ascii"))
        if parts.scheme != "http":
            raise ValueError(parts.scheme)
        host, port = parts.hostname, parts.port or 80
        path = url.partition(b"://")[2]
        path = b"/" + path.partition(b"/")[2] if b"/" in path else b"/"
    if not host or not port:
        raise ValueError(url)
    return Target(host, port), path


def _answer(writer: asyncio.StreamWriter, status: str, text: str) -> None:
    body = text.encode()
    head = f"HTTP/1.1 {status}\r\n{REFUSED}: 1\r\ncontent-type: text/plain; charset=utf-8\r\n"
    head += f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    writer.write(head.encode() + body)


def _single(headers: bytes) -> bytes:
    """Return headers, their end included, of a message that is the last of its connection."""
    kept = [
        line
        for line in headers.removesuffix(b"\r\n\r\n").split(b"\r\n")
        if line and line.partition(b":")[0].strip().lower() not in _HOP_BY_HOP
    ]
    return b"".join(line + b"\r\n" for line in (*kept, b"connection: close")) + b"\r\n"


async def _exchanged(
    reader: asyncio.StreamReader,
    onward: asyncio.StreamWriter,
    there: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Pass on a request's body and its answer, after which both connections end."""

    async def answered() -> None:
        while True:
            head = await there.readuntil(b"\r\n\r\n")
            line, _, headers = head.partition(b"\r\n")
            if line.split(b" ")[1][:3] not in _INTERIM:
                break
            writer.write(head)
        writer.write(line + b"\r\n" + _single(headers))
        await _pump(there, writer)

    await _first(_pump(reader, onward), answered())


async def _both(
    reader: asyncio.StreamReader,
    onward: asyncio.StreamWriter,
    there: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Pass on bytes both ways until one side ends."""
    await _first(_pump(reader, onward), _pump(there, writer))


async def _pump(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    while piece := await source.read(_PIECE):
        to.write(piece)
        await to.drain()


async def _first(up: Awaitable[None], down: Awaitable[None]) -> None:
    """Run both until one ends, and cancel the other."""
    loop = asyncio.get_running_loop()
    tasks = [
        loop.create_task(_awaited(up), name="browser proxy up"),
        loop.create_task(_awaited(down), name="browser proxy down"),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def _awaited(work: Awaitable[None]) -> None:
    with suppress(OSError, EOFError):
        await work
