"""HTTP tools against a real server on loopback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import orjson
import pytest

from outlast.agents.port import ToolContext
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import Effect, HttpCall, ToolSpec
from outlast.model.clock import SystemClock
from outlast.model.error import ToolFailed, ToolTimeout

pytestmark = pytest.mark.anyio
CONTEXT = ToolContext("ws_1", "exec_1", "tc_1")


class PatientClock(SystemClock):
    """Sleeps for no time and remembers for how long it should have."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@dataclass
class Request:
    line: str
    headers: dict[str, str]
    body: Any


@dataclass
class Shop:
    """Answers each request with the next of its answers; the last one stays."""

    answers: list[bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]] = field(
        default_factory=list
    )
    seen: list[Request] = field(default_factory=list)
    port: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/tools/look"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *rest = head.strip().split("\r\n")
                pairs = [header.split(": ", 1) for header in rest]
                headers = {name.lower(): value for name, value in pairs}
                body = await reader.readexactly(int(headers["content-length"]))
                self.seen.append(Request(line, headers, orjson.loads(body)))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if isinstance(answer, bytes):
                    writer.write(answer)
                    await writer.drain()
                else:
                    await answer(writer)
        self.gone.set()
        writer.close()


def answer(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    fields = {"content_type": "application/json", "content_length": str(len(body))} | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    server = await asyncio.start_server(shop.serve, "127.0.0.1", 0)
    shop.port = server.sockets[0].getsockname()[1]
    yield shop
    server.close()


@pytest.fixture
def clock() -> PatientClock:
    return PatientClock()


@pytest.fixture
async def box(clock: PatientClock) -> AsyncIterator[ToolBox]:
    box = ToolBox(clock, environ={"SHOP_TOKEN": "s3cret-token", "BAD": "s3cret\nx"})
    yield box
    await box.close()


def look(url: str, effect: Effect = Effect.READ_ONLY, **http: Any) -> ToolSpec:
    schema = {"type": "object", "properties": {"orderId": {"type": "string"}}}
    return ToolSpec("look", "Look", schema, effect, http=HttpCall(url, **http))


async def failure(box: ToolBox, spec: ToolSpec) -> str:
    with pytest.raises(ToolFailed) as raised:
        await box.call(spec, {}, CONTEXT)
    return raised.value.message


async def test_arguments_go_out_as_json_with_key_execution_and_filled_headers(
    shop: Shop, box: ToolBox
) -> None:
    shop.answers = [answer(b'{"status": "shipped"}')]
    headers = {"Authorization": "Bearer ${SHOP_TOKEN}", "X-Plain": "yes"}
    spec = look(shop.url, headers=headers)
    assert await box.call(spec, {"orderId": "A1"}, CONTEXT) == {"status": "shipped"}
    (request,) = shop.seen
    assert request.line == "POST /tools/look HTTP/1.1"
    assert request.body == {"orderId": "A1"}
    assert {name: request.headers.get(name) for name in request.headers if name != "host"} == {
        "accept": "*/*",
        "accept-encoding": "identity",
        "authorization": "Bearer s3cret-token",
        "content-length": "16",
        "content-type": "application/json",
        "idempotency-key": "tc_1",
        "outlast-execution-id": "exec_1",
        "user-agent": "outlast",
        "x-plain": "yes",
    }


@pytest.mark.parametrize(
    ("wire", "value"),
    [
        (answer(b"[1, null]"), [1, None]),
        (answer(b'{"a": 1}', content_type="application/problem+json; charset=utf-8"), {"a": 1}),
        (answer(b"hello", content_type="text/plain"), "hello"),
        (answer("é".encode("latin-1"), content_type="text/plain; charset=latin-1"), "é"),
        (answer(b"", status="204 No Content"), None),
    ],
)
async def test_a_json_answer_is_its_value_and_other_text_a_string(
    shop: Shop, box: ToolBox, wire: bytes, value: object
) -> None:
    shop.answers = [wire]
    assert await box.call(look(shop.url), {}, CONTEXT) == value


@pytest.mark.parametrize(
    ("wire", "message"),
    [
        (answer(b"no such order", "404 Not Found"), "answered 404: no such order"),
        (answer(b"x" * 9999, "400 Bad Request"), "answered 400: " + "x" * 500),
        (answer(b"", "500 Oh"), "answered 500."),
        (answer(b"", "302 Found", location="/x"), "answered 302; redirects are not followed."),
        (answer(b"{"), "answered with JSON that cannot be read."),
        (
            answer(b"\xff\xfe", content_type="image/png"),
            "answered with image/png, neither JSON nor text.",
        ),
        (answer(b"no gzip at all", content_encoding="gzip"), "could not be decoded."),
        (b"nonsense\r\n\r\n", "was lost."),
    ],
)
async def test_what_is_no_result_is_told_to_the_model(
    shop: Shop, box: ToolBox, wire: bytes, message: str
) -> None:
    shop.answers = [wire]
    told = await failure(box, look(shop.url))
    assert shop.url in told
    assert told.endswith(message)


async def test_no_error_shows_a_secret(shop: Shop, box: ToolBox) -> None:
    shop.answers = [answer(b"bad token: s3cret-token", "401 Unauthorized")]
    url = shop.url.replace("http://", "http://me:s3cret@") + "?key=s3cret"
    told = await failure(box, look(url, headers={"X-Key": "${SHOP_TOKEN}"}))
    assert told == f"{shop.url} answered 401: bad token: ***"
    told = await failure(box, look(shop.url, headers={"X-Key": "${BAD}"}))
    assert told == "The value of the header x-key cannot be sent: not printable ASCII."
    assert len(shop.seen) == 1


async def test_a_missing_variable_is_named(shop: Shop, box: ToolBox) -> None:
    told = await failure(box, look(shop.url, headers={"X-Key": "${SHOP_TOKEN} ${NONE}"}))
    assert told == "The environment variable NONE, which this tool needs, is not set."
    assert shop.seen == []


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "file:///etc/passwd", "127.0.0.1", "http://"])
async def test_only_http_urls_are_called(box: ToolBox, url: str) -> None:
    assert "The tool's URL cannot be called" in await failure(box, look(url))


async def test_an_answer_that_is_too_large_is_not_read_to_its_end(shop: Shop, box: ToolBox) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
        while True:
            writer.write(b"x" * 1000)
            await writer.drain()

    shop.answers = [endless]
    told = await failure(box, look(shop.url, max_result_bytes=5000))
    assert told == f"The answer of {shop.url} is larger than 5000 bytes."
    with anyio.fail_after(5):
        await shop.gone.wait()

    shop.answers = [b"HTTP/1.1 200 OK\r\ncontent-length: 5001\r\n\r\n"]
    assert "larger than 5000" in await failure(box, look(shop.url, max_result_bytes=5000))


async def test_an_answer_as_large_as_allowed_is_taken(shop: Shop, box: ToolBox) -> None:
    shop.answers = [answer(b'"12345678"')]
    assert await box.call(look(shop.url, max_result_bytes=10), {}, CONTEXT) == "12345678"


@pytest.mark.parametrize(
    ("effect", "ending"),
    [(Effect.READ_ONLY, "0.5 s."), (Effect.DESTRUCTIVE, "whether the call had its effect.")],
)
async def test_a_slow_answer_is_a_timeout_and_closes_the_connection(
    box: ToolBox, effect: Effect, ending: str
) -> None:
    gone = asyncio.Event()

    async def hear_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx")
        await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(hear_the_end, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    with pytest.raises(ToolTimeout) as raised:
        await box.call(look(url, effect, timeout=0.5, retries=3), {}, CONTEXT)
    assert raised.value.message.endswith(ending)
    with anyio.fail_after(5):
        await gone.wait()
    server.close()


@pytest.mark.parametrize("effect", [Effect.READ_ONLY, Effect.IDEMPOTENT])
async def test_a_repeatable_call_is_sent_again_with_the_same_key(
    shop: Shop, box: ToolBox, clock: PatientClock, effect: Effect
) -> None:
    shop.answers = [
        answer(b"", "503 Busy"),
        answer(b"", "429 Slow", retry_after="3"),
        b"",
        answer(b'"done"'),
    ]

    async def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.close()

    shop.answers[2] = hang_up
    assert await box.call(look(shop.url, effect, retries=3), {}, CONTEXT) == "done"
    assert [request.headers["idempotency-key"] for request in shop.seen] == ["tc_1"] * 4
    assert clock.slept == [0.2, 3.0, 0.8]


async def test_the_last_failure_is_told_when_all_attempts_are_spent(
    shop: Shop, box: ToolBox
) -> None:
    shop.answers = [answer(b"a", "500 Oh"), answer(b"b", "500 Oh")]
    assert (await failure(box, look(shop.url, retries=1))).endswith("answered 500: b")
    assert len(shop.seen) == 2


async def test_a_client_error_is_not_tried_again(shop: Shop, box: ToolBox) -> None:
    shop.answers = [answer(b"", "404 Not Found")]
    await failure(box, look(shop.url, retries=3))
    assert len(shop.seen) == 1


async def test_a_destructive_call_that_was_sent_is_never_sent_again(
    shop: Shop, box: ToolBox
) -> None:
    async def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.close()

    spec = look(shop.url, Effect.DESTRUCTIVE, retries=3)
    shop.answers = [answer(b"", "503 Busy")]
    await failure(box, spec)
    shop.answers = [hang_up]
    told = await failure(box, spec)
    assert told.endswith("was lost. It is not known whether the call had its effect.")
    assert len(shop.seen) == 2


async def test_a_connection_that_was_never_made_is_tried_again_for_every_effect(
    shop: Shop, clock: PatientClock
) -> None:
    server = await asyncio.start_server(shop.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()

    class OpeningClock(PatientClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            if len(self.slept) == 2:
                opened.append(await asyncio.start_server(shop.serve, "127.0.0.1", port))

    opened: list[asyncio.Server] = []
    shop.answers = [answer(b'"done"')]
    opening = OpeningClock()
    box = ToolBox(opening)
    spec = look(f"http://127.0.0.1:{port}/x", Effect.DESTRUCTIVE, retries=2)
    assert await box.call(spec, {}, CONTEXT) == "done"
    assert opening.slept == [0.2, 0.4]
    opened[0].close()
    await box.close()
    told = await failure(ToolBox(clock), replace(spec, http=HttpCall("http://127.0.0.1:1/x")))
    assert told == "Could not connect to http://127.0.0.1:1/x."


async def test_proxies_of_the_environment_are_not_used(
    shop: Shop, box: ToolBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    shop.answers = [answer(b"1")]
    assert await box.call(look(shop.url), {}, CONTEXT) == 1


async def test_a_cancel_closes_the_connection(box: ToolBox) -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(hear, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    task = asyncio.create_task(box.call(look(url), {}, CONTEXT))
    with anyio.fail_after(5):
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await gone.wait()
    server.close()


async def test_a_hundred_calls_run_at_once(shop: Shop, box: ToolBox) -> None:
    everybody = asyncio.Event()

    async def together(writer: asyncio.StreamWriter) -> None:
        if len(shop.seen) == 100:
            everybody.set()
        await everybody.wait()
        writer.write(answer(b"1"))

    shop.answers = [together]
    with anyio.fail_after(20):
        calls = [box.call(look(shop.url), {}, CONTEXT) for _ in range(100)]
        assert await asyncio.gather(*calls) == [1] * 100
