"""Endpoints that are not quite OpenAI's, over OpenAI's SDK: read as our own client reads them."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import orjson
import pytest

from outlast.model.error import ContextTooLong, ModelRateLimited, ModelUnavailable, Upstream
from outlast.model.message import Text
from tests.agents.test_bridge import ask, heard, openai_chat
from tests.support.chat_endpoint import chunk
from tests.support.provider import FakeProvider, Reply

pytest.importorskip("pydantic_ai")
pytest.importorskip("openai")
pytestmark = pytest.mark.anyio
DONE = b"data: [DONE]\n\n"
TEXT, STOP, CALLED = chunk({"content": "Some"}), chunk({}, "stop"), chunk({}, "tool_calls")


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-123456")
        yield running


def d(index: int | None, call_id: str | None, name: str | None, arguments: str) -> bytes:
    call: dict[str, Any] = {"function": {"arguments": arguments}}
    call |= {} if index is None else {"index": index}
    call |= {} if call_id is None else {"id": call_id}
    call["function"] |= {} if name is None else {"name": name}
    return chunk({"tool_calls": [call]})


PARIS, ROME = '{"city": "Paris"}', '{"city": "Rome"}'
W = "get_weather"


@pytest.mark.parametrize(
    ("deltas", "cities"),
    [
        ((d(0, "", W, PARIS), d(0, "", W, ROME)), ["Paris", "Rome"]),
        ((d(0, "a", W, ""), d(0, "b", W, '{"city":'), d(0, "c", W, ' "Paris"}')), ["Paris"]),
        (
            (
                d(0, "a", W, PARIS),
                d(0, "b", W, ""),
                d(1, None, None, '{"city":'),
                d(1, None, None, ' "Rome"}'),
            ),
            ["Paris", "Rome"],
        ),
        ((d(0, "a", "get_", ""), d(0, None, "weather", ""), d(0, None, None, PARIS)), ["Paris"]),
        ((d(0, "a", W, ""), d(0, "a", W, '{"city": "Pa'), d(0, "a", W, 'ris"}')), ["Paris"]),
        (
            (d(0, None, W, PARIS), d(0, None, W, ROME), d(0, None, W, PARIS)),
            ["Paris", "Rome", "Paris"],
        ),
        ((d(7, "a", W, PARIS), d(7, "b", W, ROME)), ["Paris", "Rome"]),
        (
            (d(0, "a", W, '{"city'), d(1, "b", W, '{"ci'), d(0, None, None, '": "Paris"}')),
            ["Paris", None],
        ),
    ],
)
async def test_calls_are_distinguished_whatever_their_index_and_id(
    provider: FakeProvider, deltas: tuple[bytes, ...], cities: list[str | None]
) -> None:
    provider.replies["m"] = Reply((*deltas, CALLED, DONE))
    _, answer = await heard(openai_chat("m"), ask())
    calls = answer.message.tool_calls
    assert [call.name for call in calls] == [W] * len(cities)
    assert [call.parameters.get("city") for call in calls] == cities
    assert len({call.provider_id for call in calls}) == len(cities)


@pytest.mark.parametrize(
    ("parts", "error", "says"),
    [
        ((b'event: error\ndata: {"message": "no"}\n\n',), ModelUnavailable, "broke off: no"),
        ((b"event: error\ndata: no\n\n", DONE), ModelUnavailable, "broke off: no"),
        ((b'data: {"error": "no"}\n\n', DONE), ModelUnavailable, "broke off: no"),
        ((b'data: {"object": "error", "message": "no"}\n\n',), ModelUnavailable, "off: no"),
        ((b'data: {"detail": "no"}\n\n', DONE), ModelUnavailable, "off: no"),
        (
            (b'data: {"choices": [{"error": {"message": "no", "code": 502}}]}\n\n',),
            ModelUnavailable,
            "off: no",
        ),
        ((b'event: error\ndata: {"code": "insufficient_quota"}\n\n',), ModelRateLimited, ""),
        ((b'data: {"error": {"message": "prompt is too long"}}\n\n',), ContextTooLong, ""),
        ((), ModelUnavailable, "ended in mid-answer"),
        ((b'data: {"error": {"message": "sk-secret-123456"}}\n\n',), Upstream, "hidden"),
    ],
)
async def test_an_error_in_mid_stream_and_a_missing_end_are_failures(
    provider: FakeProvider, parts: tuple[bytes, ...], error: type[Upstream], says: str
) -> None:
    provider.replies["m"] = Reply((TEXT, *parts))
    with pytest.raises(error, match=says or None) as raised:
        await heard(openai_chat("m"), ask())
    quota = any(b"quota" in part for part in parts)
    assert raised.value.passing is (error is not ContextTooLong and not quota)


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf: hi\r\r" + (TEXT + STOP).replace(b"\n", b"\r") + b"data: [DONE]  \r\r",
        b"data:\n\ndata\n\n" + TEXT + b"id: 1\nretry: 5\n\n" + STOP + b"data: [DONE]\t\n\n",
        (TEXT.replace(b"}", b"\ndata: }") + STOP + DONE).replace(b"\n", b"\r\n"),
        TEXT + STOP + DONE + TEXT + b"data: {\n\n",
        TEXT + DONE,
        TEXT + STOP,
    ],
)
async def test_the_stream_is_read_by_the_standard(provider: FakeProvider, body: bytes) -> None:
    for size in (1, len(body)):
        parts = tuple(body[at : at + size] for at in range(0, len(body), size))
        provider.replies["m"] = Reply(parts)
        _, answer = await heard(openai_chat("m"), ask())
        assert answer.message.parts == (Text("Some"),)


async def test_a_refusal_is_shown(provider: FakeProvider) -> None:
    parts = chunk({"refusal": "I will"}), chunk({"refusal": " not."}, "stop"), DONE
    provider.replies["m"] = Reply(parts)
    pieces, answer = await heard(openai_chat("m"), ask())
    assert [piece.text for piece in pieces] == ["I will", " not."]
    assert (answer.message.parts, answer.finish_reason) == ((Text("I will not."),), "stop")


async def test_a_compressed_stream_is_read_too(provider: FakeProvider) -> None:
    import gzip

    parts = d(0, "", W, PARIS) + d(0, "", W, ROME) + CALLED + DONE
    body = gzip.compress(parts)
    head = "content-encoding: gzip\r\n"
    provider.replies["m"] = Reply((body[:40], body[40:]), headers=head)
    _, answer = await heard(openai_chat("m"), ask())
    assert len(answer.message.tool_calls) == 2


async def test_a_refusal_in_the_form_of_a_stream_is_read_as_one(provider: FakeProvider) -> None:
    for body in (b'data: {"error": {"message": "no"}}\n\n', b'{"error": {"message": "no"}}'):
        provider.replies["m"] = Reply((body,), status="503 X")
        with pytest.raises(ModelUnavailable, match="answered 503"):
            await heard(openai_chat("m"), ask())


async def test_what_the_sdk_would_read_itself_passes_unchanged() -> None:
    from outlast.agents.models.bridge_wire import Rewritten

    async def sent() -> AsyncGenerator[bytes, None]:
        yield TEXT + STOP + b'data: {"choices": [], "usage": null}\n\n' + DONE

    given = b"".join([part async for part in Rewritten(sent())])
    assert given == TEXT + STOP + b'data: {"choices": [], "usage": null}\n\n' + DONE
    assert orjson.loads(TEXT.removeprefix(b"data: "))["choices"]
