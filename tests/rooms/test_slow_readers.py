"""Clients that read slowly, or not at all, hold little, and get what all others get."""

import asyncio
import gc
import tracemalloc
from contextlib import AsyncExitStack

import pytest

from tests.engine.world import Actor, Bench, Reply, by_turn, call, spec, tool
from tests.rooms.conftest import Build
from tests.rooms.house import BOUND, House, until
from tests.rooms.wire import Server, Wire, served

pytestmark = [pytest.mark.anyio]
READERS = 4
SMALL = 256 * 1024
"""Bytes that one slow reader may hold."""
RECEIVED = 4096
"""What the kernel takes for a client that does not read, so that the server feels it soon."""
REPLIES: dict[str, tuple[Reply, ...]] = {
    "many pieces": ([f"word {n:04} " * 20 for n in range(20_000)], ["end"]),
    "large pieces": (["x" * 1_000_000] * 10, ["end"]),
    "one piece": (["x" * 10_000_000], ["end"]),
    "a tool's result": ([call(1, "look")], ["end"]),
}


@pytest.fixture(params=list(REPLIES))
async def told(request: pytest.FixtureRequest, build: Build) -> tuple[House, str]:
    """A house with an execution of some megabytes, which has ended."""
    first, *rest = REPLIES[request.param]
    actor = Actor(by_turn([*first, *([] if "tool" in request.param else [call(1, "look")])], *rest))
    result = "y" * (10_000_000 if "tool" in request.param else 10)
    house = await build(actor, spec(tool("look")), Bench(look=lambda _: result))
    run = await house.started()
    await house.rested(run)
    return house, run


async def stalled(server: Server, path: str) -> Wire:
    """A stream of which nothing but the head is read."""
    wire = await server.connect(received=RECEIVED)
    await wire.send(server.request(path))
    async with asyncio.timeout(BOUND):
        await wire.reader.readuntil(b"\r\n\r\n")
    return wire


@pytest.mark.only("sqlite")
@pytest.mark.parametrize("path", ["/v1/executions", "/run/api/executions"])
async def test_a_stream_that_nobody_reads_holds_little(told: tuple[House, str], path: str) -> None:
    house, run = told
    url = f"{path}/{run}/stream"
    async with served(house) as server, AsyncExitStack() as stack:
        for wire in [await stalled(server, url) for _ in range(2)]:  # what is made once
            wire.writer.transport.abort()
        await until(lambda: len(house.app.state.streams) == 0)
        gc.collect()
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        wires = [await stalled(server, url) for _ in range(READERS)]
        for wire in wires:
            stack.callback(wire.writer.transport.abort)
        await parked(house, READERS)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        assert held / READERS < SMALL


async def parked(house: House, count: int) -> None:
    async with asyncio.timeout(6 * BOUND):
        while house.app.state.streams.parked < count:  # noqa: ASYNC110 - told by nobody
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", ["/v1/executions", "/run/api/executions"])
async def test_a_client_that_stops_to_read_and_goes_on_gets_the_same_bytes(
    told: tuple[House, str], path: str
) -> None:
    house, run = told
    url = f"{path}/{run}/stream"
    whole = (await house.get(url)).content
    async with served(house) as server, await stalled(server, url) as wire:
        await parked(house, 1)
        found = bytearray()
        async with asyncio.timeout(6 * BOUND):
            while not found.endswith(b"0\r\n\r\n"):
                found += await wire.reader.read(1 << 20)
        assert dechunked(bytes(found)) == whole


def dechunked(body: bytes) -> bytes:
    """A body without the frames of chunked encoding (RFC 9112, 7.1)."""
    pieces: list[bytes] = []
    place = 0
    while True:
        end = body.index(b"\r\n", place)
        size = int(body[place:end], 16)
        if not size:
            return b"".join(pieces)
        pieces.append(body[end + 2 : end + 2 + size])
        place = end + 2 + size + 2
