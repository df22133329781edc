"""Clients that read slowly, or not at all, hold little, and get what all others get."""

import asyncio
import errno
import gc
import tracemalloc
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Literal

import pytest
from structlog.testing import capture_logs

from outlast.http.spool import LargeResponse, Spool, Spools, whole_response
from outlast.model.execution import Execution
from tests.support.api import Api, MakeApi
from tests.support.connections import BoundedServer, Connection, bounded_server
from tests.support.long_cases import WHOLE, first_of
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, until

pytestmark = [pytest.mark.anyio]
READERS = 4
SMALL = 256 * 1024
"""Bytes that one slow reader may hold."""
RECEIVED = 4096
"""What the kernel takes for a client that does not read, so that the server feels it soon."""
PIECES = 10_000 if WHOLE else 5_000
"""Of the same text, four megabytes in all."""
REPLIES: dict[str, tuple[Reply, ...]] = {
    "many pieces": ([f"word {n:04} " * (400_000 // PIECES) for n in range(PIECES)], ["end"]),
    "large pieces": (["x" * 1_000_000] * 10, ["end"]),
    "one piece": (["x" * 5_000_000], ["end"]),
    "an output": ([], ["x" * 5_000_000]),
    "a tool's result": ([call(1, "look")], ["end"]),
}
OFTEN = ("many pieces", "an output", "a tool's result")
"""Those of every run; `make hostile` takes all."""
SLOW = 6
"""Readers that take a little all the time."""
SIP = 16 * 1024
"""Bytes that one of them takes at most, before the next round begins."""
SIPS = 8
"""Rounds over which little must be held."""
LOOK = 0.1
"""Seconds between two looks of the server at who is behind."""
TOGETHER = 250_000_000
"""Bytes that all streams hold together, whatever they are about to send."""
ANSWERS = ("/v1/executions/{run}", "/v1/conversations/{conversation}", "/api/v1/executions/{run}")
MANY_ANSWERS = (
    *ANSWERS,
    "/api/v1/executions/nestings?executionId={run}",
    "/v1/executions?full=true",
    "/v1/events?full=true",
)


@pytest.fixture(params=list(REPLIES) if WHOLE else OFTEN)
async def large_run(request: pytest.FixtureRequest, make_api: MakeApi) -> tuple[Api, str]:
    """A server with an execution of some megabytes, which has ended."""
    first, *rest = REPLIES[request.param]
    model = FakeModel(
        by_turn([*first, *([] if "tool" in request.param else [call(1, "look")])], *rest)
    )
    result = "y" * (5_000_000 if "tool" in request.param else 10)
    api = await make_api(model, spec(tool("look")), FakeTools(look=lambda _: result))
    run = await api.started()
    await api.rested(run)
    return api, run


async def stalled(server: BoundedServer, path: str) -> Connection:
    """A stream of which nothing but the head is read."""
    wire = await server.connect(received=RECEIVED)
    await wire.send(server.request(path))
    async with asyncio.timeout(BOUND):
        await wire.reader.readuntil(b"\r\n\r\n")
    return wire


@pytest.mark.only("sqlite")
@pytest.mark.parametrize("path", first_of(["/v1/executions", "/run/api/executions"]))
async def test_a_stream_that_is_not_read_holds_little(
    large_run: tuple[Api, str], path: str
) -> None:
    api, run = large_run
    url = f"{path}/{run}/stream"
    async with bounded_server(api) as server, AsyncExitStack() as stack:
        first = [await stalled(server, url) for _ in range(2)]
        await parked(api, len(first))  # what is made once, to the end of the way
        for wire in first:
            wire.writer.transport.abort()
        await until(lambda: len(api.app.state.streams) == 0)
        gc.collect()
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        wires = [await stalled(server, url) for _ in range(READERS)]
        for wire in wires:
            stack.callback(wire.writer.transport.abort)
        await parked(api, READERS)
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        assert held / READERS < SMALL


class Turns(asyncio.Semaphore):
    """No turn is free; it counts who waits for one."""

    def __init__(self) -> None:
        super().__init__(0)
        self.waiting = 0

    async def acquire(self) -> Literal[True]:
        self.waiting += 1
        return await super().acquire()


def large_rows() -> int:
    """How many rows of executions with a large output are in memory."""
    gc.collect()
    rows = [found for found in gc.get_objects() if isinstance(found, Execution)]
    return sum(len(row.output or "") > SMALL for row in rows)


@pytest.mark.only("sqlite")
@pytest.mark.parametrize("path", first_of(["/v1/executions", "/run/api/executions"]))
@pytest.mark.parametrize("case", ["an output", "two outputs"])
async def test_streams_that_wait_for_their_turn_do_not_hold_the_execution(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch, path: str, case: str
) -> None:
    large = ["x" * 3_000_000]
    replies: list[Reply] = [large] if case == "an output" else [[*large, call(1, "look")], large]
    model = FakeModel(by_turn(*replies))
    api = await make_api(model, spec(tool("look")), FakeTools(look=lambda _: 1))
    run = await api.started()
    await api.rested(run)
    before = large_rows()
    turns, replays = Turns(), api.core.streams._replays
    for name in ("_long", "_large"):
        monkeypatch.setattr(replays, name, turns)
    streams = [asyncio.ensure_future(api.get(f"{path}/{run}/stream")) for _ in range(READERS)]
    await until(lambda: turns.waiting == READERS)
    assert large_rows() <= before
    for _ in range(3 * READERS):
        turns.release()
    for answer in await asyncio.wait_for(asyncio.gather(*streams), BOUND):
        assert len(answer.content) > 3_000_000


async def sip(connections: Sequence[Connection]) -> None:
    """Read a little on every connection, as slowly as the slowest of them."""
    pieces = await asyncio.gather(*(one.reader.read(SIP) for one in connections))
    assert all(pieces)
    await asyncio.sleep(LOOK / 4)


@pytest.mark.only("sqlite")
@pytest.mark.parametrize("path", first_of(["/v1/executions", "/run/api/executions"]))
async def test_streams_that_are_read_slowly_all_the_time_hold_little(
    large_run: tuple[Api, str], path: str
) -> None:
    api, run = large_run
    await hold_little(api, f"{path}/{run}/stream")


@pytest.mark.only("sqlite")
@pytest.mark.parametrize("path", first_of(ANSWERS))
async def test_large_answers_that_are_read_slowly_hold_little(make_api: MakeApi, path: str) -> None:
    api = await make_api(FakeModel(by_turn(["x" * 5_000_000])))
    found = await api.rested(await api.started())
    url = path.format(run=found["id"], conversation=found["conversationId"])
    await hold_little(api, url)


async def hold_little(api: Api, url: str) -> None:
    """Once the readers are known to be slow, little is held for each of them."""
    api.app.state.streams.look_seconds = LOOK
    async with bounded_server(api) as server, AsyncExitStack() as stack:
        async with await stalled(server, url):  # what is made once
            pass
        await until(lambda: len(api.app.state.streams) == 0)
        gc.collect()
        tracemalloc.start()
        stack.callback(tracemalloc.stop)
        wires = [await server.connect(received=RECEIVED) for _ in range(SLOW)]
        for wire in wires:
            stack.callback(wire.writer.transport.abort)
            await wire.send(server.request(url))
        held = SMALL * SLOW
        async with asyncio.timeout(3 * BOUND):  # six readers, one after the other
            while held >= SMALL * SLOW:
                gc.collect()
                tracemalloc.reset_peak()
                for _ in range(SIPS):
                    await sip(wires)
                _, held = tracemalloc.get_traced_memory()


async def test_few_answers_that_may_be_large_are_in_memory_at_once(tmp_path: Path) -> None:
    spools = Spools(tmp_path)
    inside = most = 0

    async def read() -> str:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        return "x" * 1_000_000

    answers = await asyncio.gather(*(whole_response(spools, read) for _ in range(100)))
    assert most <= 6
    for answer in answers:
        assert answer.body == b""
        assert answer.headers["content-length"] == "1000002"
        assert isinstance(answer, LargeResponse)
        answer.drop()
    assert not [*tmp_path.iterdir()]  # noqa: ASYNC240 - a folder of this test's own


async def test_small_answers_do_not_wait_for_large_ones(tmp_path: Path) -> None:
    spools = Spools(tmp_path)
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(spools.rendering)

        async def read() -> str:
            return "small"

        async with asyncio.timeout(BOUND):
            assert (await whole_response(spools, read)).body == b'"small"'


@pytest.mark.parametrize("path", MANY_ANSWERS)
async def test_large_answers_are_whole(make_api: MakeApi, path: str) -> None:
    api = await make_api(FakeModel(by_turn([("é" * 99 + "\n") * 10_000])))
    found = await api.rested(await api.started())
    url = path.format(run=found["id"], conversation=found["conversationId"])
    answer = await api.client.get(url)
    assert answer.status_code == 200, answer.text
    assert int(answer.headers["content-length"]) == len(answer.content) > 1_000_000
    assert ("é" * 99 + "\\n") * 10_000 in answer.text


@pytest.mark.only("sqlite")
async def test_where_no_file_can_be_written_large_answers_and_streams_are_whole_all_the_same(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await make_api(FakeModel(by_turn(["x" * 5_000_000])))
    run = await api.started()
    await api.rested(run)
    answers = [f"/v1/executions/{run}", "/v1/executions?full=true"]
    wholes = [(await api.client.get(url)).content for url in answers]
    stream = (await api.get(f"/v1/executions/{run}/stream")).content

    def full(self: Spool, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Spool, "_append", full)
    with capture_logs() as logged:
        assert [(await api.client.get(url)).content for url in answers] == wholes
    reasons = [line["reason"] for line in logged if line["event"] == "answer.in_memory"]
    assert reasons == ["[Errno 28] No space left on device"] * 2
    url = f"/v1/executions/{run}/stream"
    with capture_logs() as logged:
        async with bounded_server(api) as server, await stalled(server, url) as wire:
            await parked(api, 1)
            assert dechunked(await wire.rest_in_chunks()) == stream
    assert "answer.in_memory" in [line["event"] for line in logged]


async def parked(api: Api, count: int) -> None:
    async with asyncio.timeout(BOUND):
        while api.app.state.streams.parked < count:  # noqa: ASYNC110 - no event says it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("path", first_of(["/v1/executions", "/run/api/executions"]))
async def test_a_client_that_stops_to_read_and_goes_on_gets_the_same_bytes(
    large_run: tuple[Api, str], path: str
) -> None:
    api, run = large_run
    url = f"{path}/{run}/stream"
    whole = (await api.get(url)).content
    async with bounded_server(api) as server, await stalled(server, url) as wire:
        await parked(api, 1)
        assert dechunked(await wire.rest_in_chunks()) == whole


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
