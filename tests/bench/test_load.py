"""Many streams at once, against a server that refuses some of them."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest
from bench.client import get
from bench.load import Burst, stream_many

pytestmark = pytest.mark.anyio

MARK = b"word"
_REFUSED = b"HTTP/1.1 503 X\r\ncontent-length: 2\r\n\r\n{}"
_STREAM = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nword\r\n4\r\nword\r\n0\r\n\r\n"
)


@dataclass
class Picky:
    """Takes so many streams of two words each, and refuses the others."""

    takes: int
    port: int = 0
    requests: int = field(default=0, init=False)

    def cpu_seconds(self) -> float:
        return float(self.requests)

    def memory(self) -> int:
        return 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.requests += 1
        writer.write(_STREAM if self.requests <= self.takes else _REFUSED)
        await writer.drain()
        await reader.read()
        writer.close()


@pytest.fixture
async def picky() -> AsyncGenerator[Picky, None]:
    server = Picky(takes=3)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        yield server


async def test_refused_streams_are_counted_apart(picky: Picky) -> None:
    burst = await _burst(picky, 5)
    assert (burst.served, burst.refused, burst.short) == (3, 2, 0)
    assert len(burst.gaps) == 3
    assert burst.cpu_seconds == 5


async def test_a_burst_of_which_nothing_was_served_is_no_figure(picky: Picky) -> None:
    picky.takes = 0
    with pytest.raises(RuntimeError, match="refused"):
        await _burst(picky, 2)


async def _burst(picky: Picky, streams: int) -> Burst:
    return await stream_many(picky, get("/"), MARK, streams=streams, words=2, bound=5)
