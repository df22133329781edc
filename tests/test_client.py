"""The Python client against a server on loopback that breaks off wherever a test says."""

import asyncio
import socket
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import orjson
import pytest

from outlast.client import Client, Refused, Unreachable, frame
from outlast.model.clock import SystemClock
from outlast_client import InvalidField
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio

FRAMES = (
    ("1-1", {"type": "start", "executionId": "exec_1"}),
    ("1-2", {"type": "text_delta", "text": "grüß\u2028 dich"}),
    ("1-3", {"type": "text_delta", "text": "\n"}),
    ("1-4", {"type": "done", "execution": {"status": "completed"}}),
)
WHOLE = [frame(cursor, data) for cursor, data in FRAMES]


class QuickClock(SystemClock):
    """Sleeps take no time, but the time they would take passes."""

    def __init__(self) -> None:
        super().__init__()
        self.slept = 0.0

    def monotonic(self) -> float:
        return self.slept

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        await asyncio.sleep(0)


def resetting_port() -> int:
    """The port of a thread that resets each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def reset() -> None:
        while True:
            connection = listener.accept()[0]
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

    threading.Thread(target=reset, daemon=True).start()
    return int(listener.getsockname()[1])


async def keep_busy() -> None:
    """Take the event loop again and again, so that a connection is made and reset in one turn."""
    while True:
        sum(range(20_000))
        await asyncio.sleep(0)


@dataclass
class Server:
    """Answers one request a connection."""

    cuts: list[int] = field(default_factory=list)
    """After how many bytes of a stream's body each connection breaks off."""
    answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    """For requests that are no streams, in their order; the last one stays."""
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])
        }
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.requests.append((head[0], headers, body))
        if "/stream" in head[0]:
            self._stream(writer, headers)
        else:
            status, answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
            content = orjson.dumps(answer)
            writer.write(
                b"HTTP/1.1 %d X\r\nConnection: close\r\nX-Request-Id: req_9\r\n"
                b"Content-Length: %d\r\n\r\n%b" % (status, len(content), content)
            )
        await writer.drain()
        writer.close()

    def _stream(self, writer: asyncio.StreamWriter, headers: dict[str, str]) -> None:
        after = headers.get("last-event-id", "")
        body = b": hello\n\n" + b"".join(
            b"id: %b\ndata: %b\n\n" % (cursor.encode(), orjson.dumps(data))
            for cursor, data in FRAMES
            if cursor > after
        )
        writer.write(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/event-stream\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        writer.write(body[: self.cuts.pop(0)] if self.cuts else body)


@asynccontextmanager
async def client_of(server: Server, patience: float = 60.0) -> AsyncIterator[Client]:
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    async with (
        asyncio.timeout(BOUND),
        listening,
        Client(url, "sk_secret_123456", patience=patience, clock=QuickClock()) as client,
    ):
        yield client


async def test_a_stream_cut_at_any_byte_is_whole_without_gap_or_repeat() -> None:
    for cut in range(0, 230, 3):
        server = Server(cuts=[cut, cut // 2, 7])
        async with client_of(server) as client:
            frames = [frame async for frame in client.follow("exec_1")]
        assert frames == WHOLE, cut
        assert len(server.requests) > 1 or cut > 200


async def test_following_from_behind_the_last_frame_ends() -> None:
    server = Server(answers=[(200, {"id": "exec_1", "status": "completed"})])
    async with client_of(server) as client:
        assert [frame async for frame in client.follow("exec_1", after="1-4")] == []


async def test_a_stream_starts_the_execution_once_and_yields_its_frames() -> None:
    busy = (503, {"error": {"code": "overloaded", "message": "later"}})
    server = Server(answers=[busy, (202, {"id": "exec_1"})])
    async with client_of(server) as client:
        frames = [
            frame
            async for frame in client.stream(
                "support",
                "hi",
                metadata={"a": 1},
                user="ann",
                forwarded_headers={"X-Tenant": "acme"},
            )
        ]

    first, second, _ = server.requests
    assert frames == WHOLE
    assert first[0] == "POST /v1/agents/support/execute HTTP/1.1"
    assert orjson.loads(first[2]) == {
        "input": "hi",
        "metadata": {"a": 1},
        "user": "ann",
        "forwardedHeaders": {"X-Tenant": "acme"},
        "background": True,
    }
    assert first[1]["idempotency-key"] == second[1]["idempotency-key"]
    assert first[1]["authorization"] == "Bearer sk_secret_123456"


async def test_an_execution_still_running_under_the_same_idempotency_key_is_waited_for() -> None:
    running = (409, {"error": {"code": "request_in_progress", "message": "still running"}})
    server = Server(answers=[running, running, (200, {"id": "exec_1", "status": "completed"})])
    async with client_of(server) as client:
        assert (await client.execute("support", "hi"))["status"] == "completed"

    assert len({request[1]["idempotency-key"] for request in server.requests}) == 1


async def test_an_answer_before_the_end_is_followed_by_asking_again() -> None:
    running = (202, {"id": "exec_1", "status": "running"})
    away: tuple[int, dict[str, Any]] = (503, {})
    server = Server(answers=[running, running, away, (200, {"id": "exec_1", "status": "failed"})])
    async with client_of(server) as client:
        assert (await client.execute("support", "hi"))["status"] == "failed"

    assert [request[0].split(" ")[0] for request in server.requests] == ["POST"] + 3 * ["GET"]


async def test_a_refusal_says_what_the_server_said() -> None:
    error = {"code": "agent_not_found", "message": "There is no agent.", "requestId": "req_1"}
    async with client_of(Server(answers=[(404, {"error": error})])) as client:
        with pytest.raises(Refused) as refused:
            await client.execute("a/b", "hi")

    assert (refused.value.status, refused.value.reason) == (404, "agent_not_found")
    assert refused.value.request_id == "req_1"
    assert str(refused.value) == "There is no agent."


async def test_an_answer_that_is_no_json_is_refused_without_showing_it() -> None:
    class Garbage(Server):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>")
            writer.close()

    async with client_of(Garbage()) as client:
        with pytest.raises(Refused, match="did not answer JSON"):
            await client.get("exec_1")


async def test_a_url_without_its_scheme_is_explained_in_one_sentence() -> None:
    async with Client("localhost:8321", "key", patience=0) as client:
        with pytest.raises(Unreachable, match=r"localhost:8321 does not answer: .*[^.]\.$"):
            await client.ready()


async def test_a_connection_that_is_reset_while_it_is_made_is_a_server_that_is_away() -> None:
    """A port of a process that has been killed: anyio on uvloop misses the peer of some."""
    busy = asyncio.create_task(keep_busy())
    async with Client(f"http://127.0.0.1:{resetting_port()}", "key", retries=0) as client:
        for _ in range(25):
            calls = [client.agents() for _ in range(20)]
            errors = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(error) for error in errors} == {Unreachable}
    busy.cancel()


async def test_a_server_that_stays_away_ends_the_patience() -> None:
    async with Client("http://127.0.0.1:9", "key", clock=QuickClock(), patience=3) as client:
        with pytest.raises(Unreachable, match="does not answer"):
            await client.execute("support", "hi")
        with pytest.raises(Unreachable):
            [frame async for frame in client.follow("exec_1")]
        with pytest.raises(Unreachable):
            await client.ready()


async def test_an_unknown_execution_is_not_waited_for() -> None:
    class Missing(Server):
        def _stream(self, writer: asyncio.StreamWriter, headers: dict[str, str]) -> None:
            writer.write(b"HTTP/1.1 404 X\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}")

    server = Missing()
    async with client_of(server) as client:
        with pytest.raises(Refused, match="404"):
            [frame async for frame in client.follow("exec_1")]
    assert len(server.requests) == 1


HALVES = [("\ud83d", "\ufffd"), ("\ud83d\ude00", "😀"), ("caf\udce9", "caf\ufffd")]


@pytest.mark.parametrize(("said", "sent"), HALVES)
async def test_half_a_surrogate_pair_is_sent_as_the_server_would_read_it(
    said: str, sent: str
) -> None:
    server = Server(answers=[(200, {"id": "exec_1", "status": "completed"})])
    async with client_of(server) as client:
        await client.execute(said, said, user=said, metadata={said: [said]})
        await client.list(agentId=said)
        await client.get(said)
        await client.pause(said, reason=said)
        await client.decide(said, said, approved=True, parameters={"a": said})
        frames = [frame async for frame in client.stream(said, said)]
    assert frames == WHOLE
    lines = [line for line, _, _ in server.requests]
    spelt = quote(sent, safe="")
    assert lines[0] == f"POST /v1/agents/{spelt}/execute HTTP/1.1"
    assert lines[1] == f"GET /v1/executions?agentId={spelt} HTTP/1.1"
    assert lines[2] == f"GET /v1/executions/{spelt} HTTP/1.1"
    body = orjson.loads(server.requests[0][2])
    assert (body["input"], body["user"], body["metadata"]) == (sent, sent, {sent: [sent]})
    assert orjson.loads(server.requests[3][2])["reason"] == sent


@pytest.mark.parametrize("odd", ["schlüssel", "k\udce9", "a\r\nb"])
async def test_a_header_that_is_no_ascii_is_reported_by_its_name(odd: str) -> None:
    server = Server(answers=[(200, {"id": "exec_1", "status": "completed"})])
    with pytest.raises(InvalidField, match="The API key contains a character that is not ASCII"):
        Client("http://127.0.0.1:1", odd)
    async with client_of(server) as client:
        with pytest.raises(InvalidField, match="The Idempotency-Key contains"):
            await client.execute("a", "b", idempotency_key=odd)
        with pytest.raises(InvalidField, match="The cursor contains"):
            await anext(client.follow("exec_1", odd))
    assert server.requests == []
