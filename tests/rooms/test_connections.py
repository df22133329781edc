"""What a client without a key may do to the server's connections, tried with raw sockets."""

import asyncio
import errno
import os
from contextlib import AsyncExitStack

import orjson
import pytest

from outlast.http.connections import HEAD_BYTES
from tests.support.api import Api, MakeApi
from tests.support.connections import BoundedServer, Connection, bounded_server
from tests.support.models import FakeModel, by_turn
from tests.support.waiting import BOUND, until

pytestmark = [pytest.mark.anyio, pytest.mark.only("sqlite")]
SHORT = 0.2
"""Seconds of a bound that a test waits for."""


async def refused(wire: Connection, piece: bytes) -> None:
    """Send a piece again and again, until the server takes no more."""
    async with asyncio.timeout(BOUND):
        try:
            while True:
                await wire.send(piece)
                await wire.stays_open(SHORT / 20)
        except ConnectionError:
            pass


# --- heads


async def test_what_is_not_http_is_400_in_our_form_and_never_within_a_response(
    make_api: MakeApi,
) -> None:
    held = asyncio.Event()
    api = await make_api(FakeModel(by_turn(["Hel", held, "lo"])))
    async with bounded_server(api) as server:
        async with await server.connect() as wire:
            await wire.send(b"nonsense\r\n\r\n")
            status, headers, body = await wire.answer()
            assert (status, headers["connection"]) == (400, "close")
            error = orjson.loads(body)["error"]
            assert (error["code"], error["requestId"]) == (
                "invalid_request",
                headers["x-request-id"],
            )
        content = b'{"input": "Hi", "stream": true}'
        path, length = "/v1/agents/agent/execute", str(len(content))
        async with await server.connect() as wire:
            await wire.send(server.request(path, "POST", content_length=length) + content)
            async with asyncio.timeout(BOUND):
                await wire.reader.readuntil(b"Hel")
                await wire.send(b"nonsense\r\n\r\n")
                assert b"HTTP/1.1" not in await wire.reader.read()
        held.set()


async def test_a_head_of_64_kib_is_read_and_a_larger_one_is_431(api: Api) -> None:
    async with bounded_server(api) as server:
        plain = server.request()
        room = HEAD_BYTES - len(plain)
        for many, one in ((1, room - 200), (60, (room - 60 * 20) // 60)):
            fields = b"".join(b"x-%03d: %b\r\n" % (n, b"a" * one) for n in range(many))
            async with await server.connect() as wire:
                await wire.send(plain[:-2] + fields + b"\r\n")
                assert (await wire.answer())[0] == 200


async def test_http_1_0_gets_no_chunks_and_a_stream_ends_with_the_connection(
    make_api: MakeApi,
) -> None:
    api = await make_api(FakeModel(by_turn(["Hello"])))
    async with bounded_server(api) as server:
        for content in (b'{"input": "Hi"}', b'{"input": "Hi", "stream": true}'):
            head = server.request(
                "/v1/agents/agent/execute", "POST", content_length=str(len(content))
            ).replace(b"HTTP/1.1", b"HTTP/1.0")
            async with await server.connect() as wire:
                await wire.send(head + content)
                async with asyncio.timeout(BOUND):
                    fields, _, body = (await wire.reader.read()).partition(b"\r\n\r\n")
            assert b"transfer-encoding" not in fields
            assert body.startswith((b"{", b"id: 0-1\ndata: {"))
            assert b"Hello" in body


@pytest.mark.parametrize(
    "head",
    [
        b"GET /v1/agents HTTP/1.1\r\nhost: x\r\nx: %b\r\n\r\n" % (b"a" * HEAD_BYTES),
        b"GET /%b HTTP/1.1\r\nhost: x\r\n\r\n" % (b"a" * HEAD_BYTES),
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * (HEAD_BYTES // 6) + b"host: x\r\n\r\n",
    ],
    ids=["one header", "the path", "many headers"],
)
async def test_a_large_head_is_431_in_one_piece_and_in_many(api: Api, head: bytes) -> None:
    async with bounded_server(api) as server:
        for size in (len(head), 1000):
            async with await server.connect() as wire:
                for start in range(0, len(head), size):
                    wire.writer.write(head[start : start + size])
                status, headers, body = await wire.answer()
                assert (status, headers["connection"]) == (431, "close")
                assert orjson.loads(body)["error"]["code"] == "request_head_too_large"
                assert await wire.rest() == b""


@pytest.mark.parametrize(
    "start", [b"GET / HTTP/1.1\r\nx: ", b"GET /", b"\r\n", b"GET / HTTP/1.1\r\n"]
)
async def test_a_head_without_end_is_cut_off_and_kept_nowhere(api: Api, start: bytes) -> None:
    async with bounded_server(api) as server, await server.connect() as wire:
        sent = 0
        try:
            await wire.send(start)
            async with asyncio.timeout(BOUND):
                while sent < 400 * 2**20:
                    await wire.send(
                        b"a: b\r\n" * 1000 if start.endswith(b"1\r\n") else start[-1:] * 6000
                    )
                    sent += 6000
        except ConnectionError:
            pass
        assert sent < 16 * 2**20  # what the kernel's buffers take
        await until(lambda: len(server.connections) == 0)


async def test_trailers_without_end_are_cut_off_and_are_no_headers(api: Api) -> None:
    async with bounded_server(api) as server:
        chunked = server.request("/v1/agents/agent/execute", "POST", transfer_encoding="chunked")
        body = b'e\r\n{"input":"Hi"}\r\n0\r\n'
        async with await server.connect() as wire:
            await wire.send(chunked + body + b"x-trailer: 1\r\n\r\n")
            assert (await wire.answer())[0] == 200
        async with await server.connect() as wire:
            await wire.send(chunked + body)
            await refused(wire, b"trailer: 1\r\n" * 500)


# --- time


async def test_a_silent_connection_is_closed(api: Api) -> None:
    async with bounded_server(api, head=SHORT) as server, await server.connect() as wire:
        assert await wire.rest() == b""
        assert len(server.connections) == 0


@pytest.mark.parametrize(
    "begun",
    [b"GET /", b"GET /v1/agents HTTP/1.1\r\n", b"GET /v1/agents HTTP/1.1\r\nhost: x\r\nx: "],
)
async def test_half_a_head_is_408_however_steadily_it_drips(api: Api, begun: bytes) -> None:
    async with bounded_server(api, head=SHORT) as server, await server.connect() as wire:
        await wire.send(begun)
        while await wire.stays_open(SHORT / 8):
            wire.writer.write(b"a")
        assert b"TTP/1.1 408 " in await wire.rest()  # the first byte was taken by the look
        assert len(server.connections) == 0


async def test_half_a_head_behind_an_answer_is_408_too(api: Api) -> None:
    async with bounded_server(api, head=SHORT) as server, await server.connect() as wire:
        for _ in range(2):
            await wire.send(server.request())
            assert (await wire.answer())[0] == 200
        await wire.send(server.request()[:-2])
        assert (await wire.rest()).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("framing", [{"content_length": "1000"}, {"transfer_encoding": "chunked"}])
async def test_a_body_that_stops_is_408_and_one_that_goes_on_is_not(
    api: Api, framing: dict[str, str]
) -> None:
    async with bounded_server(api, body=SHORT) as server:
        request = server.request("/v1/agents/agent/execute", "POST", **framing)
        async with await server.connect() as wire:
            await wire.send(request + (b'3\r\n{"i\r\n' if "chunked" in str(framing) else b'{"i'))
            assert (await wire.rest()).startswith(b"HTTP/1.1 408 ")
        if "chunked" in str(framing):
            async with await server.connect() as wire:
                await wire.send(request)
                for piece in (
                    b'{"in',
                    b'put"',
                    b":   ",
                    b"    ",
                    b"    ",
                    b"    ",
                    b'"Hi"',
                    b"}   ",
                ):
                    assert await wire.stays_open(SHORT / 4)
                    await wire.send(b"4\r\n%b\r\n" % piece)
                await wire.send(b"0\r\n\r\n")
                assert (await wire.answer())[0] == 200


async def test_an_idle_connection_is_closed_and_a_waiting_request_is_not(make_api: MakeApi) -> None:
    held = asyncio.Event()
    model = FakeModel(by_turn(["a", held], ["b"]))
    api = await make_api(model)
    async with bounded_server(api, head=SHORT, body=SHORT, idle=SHORT) as server:
        async with await server.connect() as wire:
            await wire.send(server.request())
            assert (await wire.answer())[0] == 200
            assert await wire.rest() == b""
        async with await server.connect() as wire:
            body = b'{"input":"Hi"}'
            path = "/v1/agents/agent/execute"
            await wire.send(server.request(path, "POST", content_length=str(len(body))) + body)
            assert await wire.stays_open(SHORT * 4)
            held.set()
            assert (await wire.answer())[0] == 200


async def test_a_body_that_is_not_wanted_ends_its_connection(api: Api) -> None:
    async with bounded_server(api, body=SHORT) as server, await server.connect() as wire:
        await wire.send(server.request("/v1/agents/agent/execute", "POST", content_length="9" * 12))
        assert (await wire.answer())[0] == 413
        await refused(wire, b"a" * 1000)
        assert len(server.connections) == 0


async def test_a_client_that_takes_nothing_is_closed_and_a_slow_one_is_not(
    make_api: MakeApi,
) -> None:
    text = "word " * 3_000_000  # more than the kernel takes
    api = await make_api(FakeModel(by_turn([text])))
    run = (await api.execute({"input": "Hi"})).json()["id"]
    async with bounded_server(api, body=5 * SHORT) as server:
        request = server.request(f"/v1/executions/{run}")
        async with await server.connect(received=4096) as wire:
            await wire.send(request)
            await until(lambda: len(server.connections) == 0)
        async with await server.connect(received=128 * 1024) as wire:
            await wire.send(request)
            found = 0
            async with asyncio.timeout(BOUND):
                while found < len(text):
                    found += len(await wire.reader.read(200_000))


# --- numbers


async def streaming(server: BoundedServer) -> Connection:
    """A connection whose request is being answered."""
    wire = await server.connect()
    body = b'{"input":"Hi","stream":true}'
    path = "/v1/agents/agent/execute"
    await wire.send(server.request(path, "POST", content_length=str(len(body))) + body)
    async with asyncio.timeout(BOUND):
        await wire.reader.readuntil(b'"start"')
    return wire


async def test_where_all_are_answered_the_reserve_tells_of_health_and_the_rest_is_503(
    make_api: MakeApi,
) -> None:
    held = asyncio.Event()
    api = await make_api(FakeModel(lambda _: ["a", held]))
    async with bounded_server(api, connections=3) as server:
        streams = [await streaming(server) for _ in range(3)]
        for path, code in (("/v1/agents", "overloaded"), ("/nowhere", "overloaded")):
            status, headers, content = await server.fetch(path)
            assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
            assert headers["x-request-id"]
            assert orjson.loads(content)["error"]["code"] == code
        assert b'{"error":"' in (await server.fetch("/run/api/executions/x"))[2]
        for path in ("/healthz", "/readyz", "/metrics"):
            assert (await server.fetch(path))[0] == 200
        silent = [await server.connect() for _ in range(20)]
        assert (await server.fetch("/readyz"))[0] == 200
        assert len(server.connections) <= 3 + 2 + 1
        for wire in (*silent, streams.pop()):
            wire.writer.transport.abort()
        await until(lambda: len(server.connections) == 2)
        assert (await server.fetch())[0] == 200
        for wire in streams:
            wire.writer.transport.abort()


async def test_silent_connections_make_room_the_longest_first(api: Api) -> None:
    async with bounded_server(api, connections=3) as server, AsyncExitStack() as stack:
        silent = [await server.connect() for _ in range(50)]
        for wire in silent:
            stack.callback(wire.writer.transport.abort)
        assert (await server.fetch())[0] == 200
        await until(lambda: len(server.connections) <= 3)
        for wire in silent[:-3]:
            assert await wire.rest() == b""
        async with silent[-1] as wire:
            await wire.send(server.request())
            assert (await wire.answer())[0] == 200


async def test_requests_in_a_row_are_answered_in_order_up_to_a_bound(make_api: MakeApi) -> None:
    api = await make_api()
    async with bounded_server(api) as server:
        async with await server.connect() as wire:
            await wire.send(
                b"".join(server.request(path) for path in ("/healthz", "/v1/agents", "/no"))
            )
            assert [(await wire.answer())[0] for _ in range(3)] == [200, 200, 404]
        async with await server.connect() as wire:
            await wire.send(server.request() * 10_000)
            assert (await wire.rest()).count(b"HTTP/1.1 200 ") < 1000


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
async def test_a_request_that_needs_one_file_too_many_is_503(
    api: Api, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    async def spent(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(api.core.services.agents, "page", spent)
    answer = await api.get("/v1/agents")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "open files" in answer.json()["error"]["message"]
