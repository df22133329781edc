"""The connections to a provider: kept, replaced, given up, and closed with their loop."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from outlast.agents.models.openai_chat import OpenAIChat, OpenAIEndpoint
from outlast.agents.models.providers import of_environment
from outlast.agents.port import Answer, ModelRequest, TextPiece
from outlast.model.clock import SystemClock
from outlast.model.error import Misconfigured, ModelUnavailable
from outlast.model.message import UserMessage
from tests.support.heartbeat import STILL, Heartbeat
from tests.support.provider import FakeProvider, Reply
from tests.support.provider_chunks import http_chunk
from tests.support.provider_chunks import text as words
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WORD = b'data: {"choices": [{"delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\n'
WHOLE = HEAD + http_chunk(WORD + b"data: [DONE]\n\n") + b"0\r\n\r\n"
COMPLETION = b'{"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}'
Answering = Callable[[int, int, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answering: Answering) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server by hand: a test says which request of which connection it answers."""
    bodies: list[bytes] = []
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        connection, request = connections, 0
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
                bodies.append(await reader.readexactly(length))
                request += 1
                await answering(connection, request, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has left
        finally:  # also after an assertion: a client waits for the end of the connection
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", bodies
    finally:
        server.close()


@asynccontextmanager
async def opened(url: str, **timeouts: Any) -> AsyncIterator[OpenAIEndpoint]:
    made = OpenAIEndpoint(of_environment({"OPENAI_BASE_URL": url}), SystemClock(), **timeouts)
    try:
        yield made
    finally:
        await made.close()


async def heard(endpoint: OpenAIEndpoint, text: str = "Hello", model: str = "m") -> Answer:
    request = ModelRequest("", (UserMessage(text),))
    async with asyncio.timeout(BOUND), aclosing(endpoint.model(model).stream(request)) as events:
        heard = [event async for event in events]
    assert isinstance(heard[-1], Answer)
    return heard[-1]


async def test_a_kept_connection_that_dies_before_it_answers_is_replaced_once() -> None:
    async def only_the_first(connection: int, request: int, writer: asyncio.StreamWriter) -> None:
        if request == 1 and connection <= 2:
            writer.write(WHOLE)
        else:
            writer.close()

    async with serving(only_the_first) as (url, bodies), opened(url) as endpoint:
        await heard(endpoint)
        assert (await heard(endpoint)).message.text == "Hi"
        assert len(bodies) == 3
        with pytest.raises(ModelUnavailable, match="closed the connection"):
            await heard(endpoint)
        assert len(bodies) == 5
        with pytest.raises(ModelUnavailable, match="closed the connection"):
            await heard(endpoint)
        assert len(bodies) == 6


async def test_the_end_of_an_answer_may_come_later_and_its_connection_is_kept() -> None:
    answered, sent = asyncio.Event(), asyncio.Event()

    async def late(connection: int, request: int, writer: asyncio.StreamWriter) -> None:
        assert connection == 1
        writer.write(WHOLE[:-5])
        await answered.wait()
        writer.write(WHOLE[-5:])
        sent.set()

    async with serving(late) as (url, bodies), opened(url) as endpoint:
        await heard(endpoint)
        answered.set()
        await sent.wait()
        async with FakeProvider() as other, opened(other.url) as elsewhere:
            await heard(elsewhere, model="words-2")  # by then the end has come in too
        await heard(endpoint)
        assert len(bodies) == 2


async def test_silence_before_an_answer_is_unavailable() -> None:
    async def silent(connection: int, request: int, writer: asyncio.StreamWriter) -> None:
        pass

    async with serving(silent) as (url, _), opened(url, read_timeout=0.05) as endpoint:
        with pytest.raises(ModelUnavailable, match=r"silent for 0\.05 s"):
            await heard(endpoint)


async def test_a_connection_that_is_never_ready_is_unavailable() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with opened(url, connect_timeout=0.05) as endpoint:
        with pytest.raises(ModelUnavailable, match=r"accepted no connection in 0\.05 s"):
            await heard(endpoint)
    server.close()


async def test_what_is_not_http_is_unavailable() -> None:
    async def nonsense(connection: int, request: int, writer: asyncio.StreamWriter) -> None:
        writer.write(b"nonsense\r\n\r\n")

    async with serving(nonsense) as (url, _), opened(url) as endpoint:
        with pytest.raises(ModelUnavailable, match="not HTTP"):
            await heard(endpoint)


async def test_cancelling_before_the_answer_closes_the_socket() -> None:
    requested, gone = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        requested.set()
        await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with opened(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as endpoint:
        asking = asyncio.create_task(heard(endpoint))
        async with asyncio.timeout(BOUND):
            await requested.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await gone.wait()
    server.close()


async def test_a_long_history_goes_out_whole() -> None:
    async def answer(connection: int, request: int, writer: asyncio.StreamWriter) -> None:
        writer.write(WHOLE)

    async with serving(answer) as (url, bodies), opened(url) as endpoint:
        await heard(endpoint, "x" * 3_000_000)
        assert bodies[0].count(b"x") == 3_000_000


async def test_an_encoded_answer_is_decoded() -> None:
    import zlib

    async with FakeProvider() as provider, opened(provider.url) as endpoint:
        body = zlib.compress(WORD)
        provider.replies["packed"] = Reply((body,), headers="content-encoding: deflate\r\n")
        assert (await heard(endpoint, model="packed")).message.text == "Hi"
        provider.replies["broken"] = Reply((b"?",), headers="content-encoding: deflate\r\n")
        with pytest.raises(ModelUnavailable):
            await heard(endpoint, model="broken")


async def test_a_connection_that_the_provider_closed_while_idle_is_replaced() -> None:
    async with FakeProvider() as provider, opened(provider.url) as endpoint:
        await heard(endpoint, model="words-3")
        for connection in list(provider.open):
            connection.transport.close()
        await heard(endpoint, model="words-3")
        assert provider.connection_count == 2


async def test_an_address_without_a_server_is_unavailable() -> None:
    async with FakeProvider() as gone:
        url = gone.url
    async with opened(url) as endpoint:
        with pytest.raises(ModelUnavailable, match="cannot be reached"):
            await heard(endpoint)


async def test_silence_between_chunks_is_unavailable() -> None:
    async with FakeProvider() as provider:
        async with opened(provider.url, read_timeout=0.05) as endpoint:
            with pytest.raises(ModelUnavailable, match="silent"):
                await heard(endpoint, model="hang")
        await provider.wait_cut()


async def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with FakeProvider() as provider:
        monkeypatch.setenv("http_proxy", provider.url.removesuffix("/v1"))
        async with opened("http://provider.invalid/v1") as endpoint:
            assert (await heard(endpoint, model="words-3")).message.text == words(3)
            with pytest.raises(ModelUnavailable):
                await heard(endpoint, model="die-after-2")
            events = endpoint.model("hang").stream(ModelRequest("", (UserMessage("Hello"),)))
            await anext(events)
            await events.aclose()
            await provider.wait_cut()
    assert provider.headers[0].startswith(b"POST http://provider.invalid/v1/chat/completions")


async def test_a_proxy_s_login_is_sent_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    async with FakeProvider() as provider:
        monkeypatch.setenv("all_proxy", f"http://me:secret@127.0.0.1:{provider.port}")
        async with opened("http://provider.invalid/v1") as endpoint:
            await heard(endpoint, model="words-3")
        assert b"proxy-authorization: basic bwu6c2vjcmv0" in provider.headers[0].lower()
        monkeypatch.setenv("no_proxy", "provider.invalid")
        async with opened("http://provider.invalid/v1") as endpoint:
            with pytest.raises(ModelUnavailable, match="cannot be reached"):
                await heard(endpoint, model="words-3")
        assert provider.request_count == 1


async def test_a_proxy_that_is_away_or_of_another_kind_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:1")
    async with opened("http://provider.invalid/v1") as endpoint:
        with pytest.raises(ModelUnavailable, match="cannot be reached through the proxy") as raised:
            await heard(endpoint)
    assert "secret" not in str(raised.value)
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(Misconfigured, match="proxy"):
        OpenAIEndpoint(
            of_environment({"OPENAI_BASE_URL": "http://provider.invalid/v1"}), SystemClock()
        )


async def test_warming_up_many_times_makes_one_session() -> None:
    async with FakeProvider() as provider, opened(provider.url) as endpoint:
        await asyncio.gather(*(endpoint.warm_up() for _ in range(20)))
        await asyncio.gather(*(heard(endpoint, model="words-2") for _ in range(5)))
        await endpoint.warm_up()
        await heard(endpoint, model="words-2")
        assert provider.connection_count <= 5


def test_an_endpoint_outlives_its_loop_and_leaves_nothing_open() -> None:
    script = """
import asyncio
from tests.support.provider import FakeProvider
from tests.agents.test_exchange import OpenAIEndpoint, SystemClock, of_environment
endpoint = None

async def main(port):
    global endpoint
    asyncio.get_running_loop().slow_callback_duration = 60  # a busy machine is no fault
    async with FakeProvider() as provider:
        spec = of_environment({"OPENAI_BASE_URL": provider.url})
        endpoint = endpoint or OpenAIEndpoint(spec, SystemClock())
        await endpoint.warm_up()

asyncio.run(main(0))
asyncio.run(main(0))
print("done")
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


async def test_a_stream_left_open_is_closed_with_its_endpoint() -> None:
    async with FakeProvider() as provider:
        async with opened(provider.url) as endpoint:
            events = endpoint.model("hang").stream(ModelRequest("", (UserMessage("Hello"),)))
            assert await anext(events) == TextPiece("lorem")
        await provider.wait_cut()
        with pytest.raises(ModelUnavailable):
            await anext(events)


class Slowly:
    """A provider, and its answer in pieces; what has arrived is there at once."""

    status = 200

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = iter(pieces)

    async def ask(self, _: bytes) -> "Slowly":
        return self

    async def read(self) -> bytes:
        return next(self._pieces, b"")

    def close(self, *, satisfied: bool = False) -> None:
        assert satisfied


@pytest.mark.parametrize("blank", [b"\n" * 1000, b" \r\n" * 300, b"\n"])
@pytest.mark.parametrize("answer", [WORD, COMPLETION, b"\xef\xbb\xbf" + COMPLETION])
async def test_blanks_before_an_answer_do_not_hold_up_the_loop(blank: bytes, answer: bytes) -> None:
    provider: Any = Slowly(*[blank] * 10_000, answer)
    model = OpenAIChat("m", provider, SystemClock())
    async with Heartbeat() as heart:
        *_, end = [event async for event in model.stream(ModelRequest("", (UserMessage("Hi"),)))]
    assert isinstance(end, Answer)
    assert end.message.text == "Hi"
    assert heart.longest < STILL  # read again with each piece, they take many times that
