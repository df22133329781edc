"""HTTP tools against a real server on loopback."""

import asyncio
import gzip
import tracemalloc

import anyio
import pytest

from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import Effect
from outlast.model.error import ToolFailed, ToolTimeout
from tests.support.clocks import InstantClock
from tests.support.http_tools import CONTEXT, HttpToolServer, answer, failure, look

pytestmark = pytest.mark.anyio


async def test_arguments_go_out_as_json_with_key_execution_and_filled_headers(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    tool_server.answers = [answer(b'{"status": "shipped"}')]
    headers = {"Authorization": "Bearer ${SHOP_TOKEN}", "X-Plain": "yes"}
    spec = look(tool_server.url, headers=headers)
    assert await box.call(spec, {"orderId": "A1"}, CONTEXT) == {"status": "shipped"}
    (request,) = tool_server.seen
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
    tool_server: HttpToolServer, box: ToolBox, wire: bytes, value: object
) -> None:
    tool_server.answers = [wire]
    assert await box.call(look(tool_server.url), {}, CONTEXT) == value


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
async def test_what_is_no_result_is_shown_to_the_model(
    tool_server: HttpToolServer, box: ToolBox, wire: bytes, message: str
) -> None:
    tool_server.answers = [wire]
    shown = await failure(box, look(tool_server.url))
    assert tool_server.url in shown
    assert shown.endswith(message)


async def test_what_a_server_said_is_for_the_model_and_not_for_the_log(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    tool_server.answers = [answer(b"no such order: 4711", "404 Not Found")]
    with pytest.raises(ToolFailed) as raised:
        await box.call(look(tool_server.url), {}, CONTEXT)
    assert raised.value.message.endswith("answered 404: no such order: 4711")
    assert raised.value.cause == f"{tool_server.url} answered 404."


async def test_no_error_shows_a_secret(tool_server: HttpToolServer, box: ToolBox) -> None:
    tool_server.answers = [answer(b"bad token: s3cret-token", "401 Unauthorized")]
    url = tool_server.url.replace("http://", "http://me:s3cret@") + "?key=s3cret"
    shown = await failure(box, look(url, headers={"X-Key": "${SHOP_TOKEN}"}))
    assert shown == f"{tool_server.url} answered 401: bad token: ***"
    shown = await failure(box, look(tool_server.url, headers={"X-Key": "${BAD}"}))
    assert shown == "The value of the header x-key cannot be sent: not printable ASCII."
    assert len(tool_server.seen) == 1


async def test_a_missing_variable_is_named(tool_server: HttpToolServer, box: ToolBox) -> None:
    shown = await failure(box, look(tool_server.url, headers={"X-Key": "${SHOP_TOKEN} ${NONE}"}))
    assert shown == "The environment variable NONE, which this tool needs, is not set."
    assert tool_server.seen == []


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "file:///etc/passwd", "127.0.0.1", "http://"])
async def test_only_http_urls_are_called(box: ToolBox, url: str) -> None:
    assert "The tool's URL cannot be called" in await failure(box, look(url))


async def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n")
        while True:
            writer.write(b"x" * 1000)
            await writer.drain()

    tool_server.answers = [endless]
    shown = await failure(box, look(tool_server.url, max_result_bytes=5000))
    assert shown == f"The answer of {tool_server.url} is larger than 5000 bytes."
    with anyio.fail_after(5):
        await tool_server.gone.wait()

    tool_server.answers = [b"HTTP/1.1 200 OK\r\ncontent-length: 5001\r\n\r\n"]
    assert "larger than 5000" in await failure(box, look(tool_server.url, max_result_bytes=5000))


async def test_an_answer_as_large_as_allowed_is_taken(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    tool_server.answers = [answer(b'"12345678"')]
    assert await box.call(look(tool_server.url, max_result_bytes=10), {}, CONTEXT) == "12345678"


@pytest.mark.parametrize(
    ("effect", "ending"),
    [(Effect.READ_ONLY, "0.5 s."), (Effect.DESTRUCTIVE, "whether the call had its effect.")],
)
async def test_a_slow_answer_is_a_timeout_and_closes_the_connection(
    box: ToolBox, effect: Effect, ending: str
) -> None:
    gone = asyncio.Event()

    async def read_to_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx")
        await reader.read()
        gone.set()
        writer.close()

    server = await asyncio.start_server(read_to_the_end, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    with pytest.raises(ToolTimeout) as raised:
        await box.call(look(url, effect, timeout=0.5, retries=3), {}, CONTEXT)
    assert raised.value.message.endswith(ending)
    with anyio.fail_after(5):
        await gone.wait()
    server.close()


@pytest.mark.parametrize("effect", [Effect.READ_ONLY, Effect.IDEMPOTENT])
async def test_a_repeatable_call_is_sent_again_with_the_same_key(
    tool_server: HttpToolServer, box: ToolBox, clock: InstantClock, effect: Effect
) -> None:
    tool_server.answers = [
        answer(b"", "503 Busy"),
        answer(b"", "429 Slow", retry_after="3", connection="close"),
        b"",
        answer(b'"done"'),
    ]

    async def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.close()

    tool_server.answers[2] = hang_up
    assert await box.call(look(tool_server.url, effect, retries=3), {}, CONTEXT) == "done"
    assert [request.headers["idempotency-key"] for request in tool_server.seen] == ["tc_1"] * 4
    assert clock.slept == [0.2, 3.0, 0.8]


async def test_an_answer_that_unpacks_to_too_much_is_not_unpacked_to_its_end(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    packed = gzip.compress(b" " * 200_000_000, 1)
    tool_server.answers = [answer(packed, content_encoding="gzip")]
    tracemalloc.start()
    shown = await failure(box, look(tool_server.url, max_result_bytes=1_000_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert shown == f"The answer of {tool_server.url} is larger than 1000000 bytes."
    assert peak < 10_000_000
    tool_server.answers = [answer(gzip.compress(b"[1]"), content_encoding="gzip")]
    assert await box.call(look(tool_server.url), {}, CONTEXT) == [1]


async def test_the_last_failure_is_reported_when_all_attempts_are_spent(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    tool_server.answers = [answer(b"a", "500 Oh"), answer(b"b", "500 Oh")]
    assert (await failure(box, look(tool_server.url, retries=1))).endswith("answered 500: b")
    assert len(tool_server.seen) == 2


async def test_a_client_error_is_not_tried_again(tool_server: HttpToolServer, box: ToolBox) -> None:
    tool_server.answers = [answer(b"", "404 Not Found")]
    await failure(box, look(tool_server.url, retries=3))
    assert len(tool_server.seen) == 1


async def test_a_destructive_call_that_was_sent_is_never_sent_again(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    async def hang_up(writer: asyncio.StreamWriter) -> None:
        writer.close()

    spec = look(tool_server.url, Effect.DESTRUCTIVE, retries=3)
    tool_server.answers = [answer(b"", "503 Busy")]
    await failure(box, spec)
    tool_server.answers = [hang_up]
    shown = await failure(box, spec)
    assert shown.endswith("was lost. It is not known whether the call had its effect.")
    assert len(tool_server.seen) == 2
