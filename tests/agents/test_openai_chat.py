"""Our own client against the fake provider, over real sockets."""

import asyncio
from typing import Any

import orjson
import pytest

from outlast.agents.models.openai_chat import OpenAIEndpoint
from outlast.agents.models.providers import of_environment
from outlast.agents.models.sse import EventData
from outlast.agents.port import Answer, ModelRequest, TextPiece, ThinkingPiece
from outlast.model.agent import ToolSpec
from outlast.model.clock import SystemClock
from outlast.model.error import (
    ContextTooLong,
    Misconfigured,
    ModelRateLimited,
    ModelRejected,
    ModelUnavailable,
    Upstream,
)
from outlast.model.message import (
    AssistantMessage,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from outlast.model.usage import Usage
from tests.support.chat_endpoint import KEY, ask, chunk, heard
from tests.support.provider import FakeProvider, Reply
from tests.support.provider_chunks import text as words

pytestmark = pytest.mark.anyio

LOOKUP = ToolSpec(
    "lookup",
    "Look an order up",
    {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
)


async def test_each_word_is_a_piece_and_usage_is_the_provider_s(endpoint: OpenAIEndpoint) -> None:
    pieces, answer = await heard(endpoint.model("words-12"), ask())
    assert len(pieces) == 12
    assert "".join(piece.text for piece in pieces) == words(12)
    assert answer == Answer(AssistantMessage((Text(words(12)),)), Usage(10, 12), "fake-1", "stop")


async def test_cached_tokens_are_counted(endpoint: OpenAIEndpoint) -> None:
    history = (UserMessage("a"), AssistantMessage((Text("b"),)), UserMessage("c"))
    _, answer = await heard(endpoint.model("words-2"), ask(*history))
    assert answer.usage == Usage(30, 2, cache_read_tokens=10)


async def test_parallel_tool_calls_come_whole_with_ids_of_ours(endpoint: OpenAIEndpoint) -> None:
    _, answer = await heard(endpoint.model("tools-2"), ask(tools=(LOOKUP,)))
    first, second = answer.message.tool_calls
    assert (first.name, first.parameters, first.provider_id) == ("lookup", {"id": "word"}, "call_0")
    assert second.provider_id == "call_1"
    assert first.id.startswith("tc_")
    assert first.id != second.id
    assert answer.finish_reason == "tool_calls"


async def test_reasoning_is_thinking(endpoint: OpenAIEndpoint) -> None:
    pieces, answer = await heard(endpoint.model("reasoning"), ask())
    assert pieces[:2] == [ThinkingPiece("Let me "), ThinkingPiece("think.")]
    assert answer.message.parts == (Thinking("Let me think."), Text(words(12)))


async def test_the_whole_history_is_sent_back(
    endpoint: OpenAIEndpoint, provider: FakeProvider
) -> None:
    call = ToolCall("tc_1", "lookup", {"id": "7"}, provider_id="call_9")
    bad = ToolCall("tc_2", "lookup", {}, invalid="{oops")
    history = (
        UserMessage("Where?"),
        AssistantMessage((Thinking("hm"), Text("Wait."), call, bad)),
        ToolMessage("tc_1", "lookup", {"status": "sent"}, provider_id="call_9"),
        ToolMessage("tc_2", "lookup", "not JSON", is_error=True),
    )
    request = ModelRequest(
        "Be kind.", history, (LOOKUP,), "lookup", {"temperature": 0, "max_tokens": 5, "stop": ["x"]}
    )
    await heard(endpoint.model("tool"), request)
    assert provider.requests == [
        {
            "model": "tool",
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": 0,
            "max_tokens": 5,
            "stop": ["x"],
            "messages": [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": "Where?"},
                {
                    "role": "assistant",
                    "content": "Wait.",
                    "tool_calls": [
                        {
                            "id": "call_9",
                            "type": "function",
                            "function": {"name": "lookup", "arguments": '{"id":"7"}'},
                        },
                        {
                            "id": "tc_2",
                            "type": "function",
                            "function": {"name": "lookup", "arguments": "{}"},
                        },
                    ],
                },
                {"role": "tool", "tool_call_id": "call_9", "content": '{"status":"sent"}'},
                {"role": "tool", "tool_call_id": "tc_2", "content": "not JSON"},
            ],
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": "lookup",
                        "description": "Look an order up",
                        "parameters": LOOKUP.parameters,
                    },
                }
            ],
            "tool_choice": {"type": "function", "function": {"name": "lookup"}},
        }
    ]
    assert f"authorization: Bearer {KEY}".encode() in provider.headers[0]


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("status-401", ModelRejected),
        ("status-403", ModelRejected),
        ("status-404", ModelRejected),
        ("status-400", ModelRejected),
        ("status-302", ModelRejected),
        ("too-long", ContextTooLong),
        ("status-429", ModelRateLimited),
        ("status-500", ModelUnavailable),
        ("status-503", ModelUnavailable),
        ("garbage", ModelUnavailable),
        ("die-after-3", ModelUnavailable),
    ],
)
async def test_each_failure_has_its_error_and_shows_no_key(
    endpoint: OpenAIEndpoint, model: str, error: type[Upstream]
) -> None:
    with pytest.raises(Upstream) as raised:
        await heard(endpoint.model(model), ask())
    assert type(raised.value) is error
    assert "sk-" not in str(raised.value)
    if model.startswith("status"):
        assert model.removeprefix("status-") in str(raised.value)
        assert "The fake provider is set" in str(raised.value)


async def test_a_rate_limit_says_how_long_to_wait(endpoint: OpenAIEndpoint) -> None:
    with pytest.raises(ModelRateLimited) as raised:
        await heard(endpoint.model("status-429"), ask())
    assert raised.value.retry_after == 7.0


async def test_the_key_is_blotted_out_wherever_the_provider_repeats_it(
    provider: FakeProvider, endpoint: OpenAIEndpoint
) -> None:
    body = orjson.dumps({"error": {"message": f"Bad key {KEY}, Bearer abc.def " + "x" * 500}})
    provider.replies["leak"] = Reply((body,), "application/json", status="401 No")
    with pytest.raises(ModelRejected) as raised:
        await heard(endpoint.model("leak"), ask())
    assert KEY not in str(raised.value)
    assert "abc.def" not in str(raised.value)
    assert len(str(raised.value)) < 360


async def test_a_flaky_provider_answers_at_the_third_try(endpoint: OpenAIEndpoint) -> None:
    model = endpoint.model("flaky-2")
    for _ in range(2):
        with pytest.raises(ModelUnavailable):
            await heard(model, ask())
    assert (await heard(model, ask()))[1].finish_reason == "stop"


async def test_closing_the_stream_closes_the_socket(
    endpoint: OpenAIEndpoint, provider: FakeProvider
) -> None:
    events = endpoint.model("hang").stream(ask())
    assert await anext(events) == TextPiece("lorem")
    assert len(provider.open) == 1
    await events.aclose()
    await provider.wait_cut()
    assert not provider.open


async def test_cancelling_the_reader_closes_the_socket(
    endpoint: OpenAIEndpoint, provider: FakeProvider
) -> None:
    reading = asyncio.create_task(heard(endpoint.model("hang"), ask()))
    await provider.wait_requests(1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await provider.wait_cut()


async def test_a_connection_is_used_again(endpoint: OpenAIEndpoint, provider: FakeProvider) -> None:
    for name in ("words-3", "words-3", "status-401", "words-3-delay-1", "words-3"):
        try:
            await heard(endpoint.model(name), ask())
        except ModelRejected:
            continue
    assert provider.request_count == 5
    assert provider.connection_count == 1


async def test_no_usage_is_estimated(endpoint: OpenAIEndpoint) -> None:
    _, answer = await heard(endpoint.model("no-usage"), ask())
    assert answer.usage.estimated
    assert answer.usage.output_tokens == -(-len(words(12)) // 4)
    assert answer.usage.input_tokens > 0


async def test_any_cut_of_the_bytes_gives_the_same_answer(
    endpoint: OpenAIEndpoint, provider: FakeProvider
) -> None:
    stream = (
        b": hello\r\n\r\nevent: x\r\ndata:"
        + chunk({"content": "é1"})[6:].replace(b"\n", b"\r\n")
        + b'id: 4\ndata: {"choices": [{"delta":\ndata: {"content": " two"}}]}\n\n'
        + chunk({}, "length").rstrip(b"\n")
    )
    for size in (1, 2, 3, 7, len(stream)):
        parts = tuple(stream[at : at + size] for at in range(0, len(stream), size))
        provider.replies["cut"] = Reply(parts)
        pieces, answer = await heard(endpoint.model("cut"), ask())
        assert pieces == [TextPiece("é1"), TextPiece(" two")]
        assert (answer.model, answer.finish_reason) == ("real-1", "length")


def test_a_line_end_may_be_cut_in_two() -> None:
    events = EventData()
    assert [events.feed(part) for part in (b"data: a\r", b"\n\r", b"\ndata: b\r\n\r\n")] == [
        [],
        [],
        [b"a", b"b"],
    ]


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        (  # neither index nor id
            [
                {"function": {"name": "a", "arguments": '{"x":'}},
                {"function": {"arguments": "1}"}},
                {"function": {"name": "b", "arguments": {"y": 2}}},
            ],
            [("a", {"x": 1}, None), ("b", {"y": 2}, None)],
        ),
        (  # every call under index 0
            [
                {"index": 0, "id": "p", "function": {"name": "a", "arguments": "{}"}},
                {"index": 0, "id": "q", "function": {"name": "b", "arguments": ""}},
            ],
            [("a", {}, "p"), ("b", {}, "q")],
        ),
        (  # interleaved by id alone
            [
                {"id": "p", "function": {"name": "a", "arguments": '{"x":'}},
                {"id": "q", "function": {"name": "a", "arguments": '{"x":'}},
                {"id": "p", "function": {"arguments": "1}"}},
                {"id": "q", "function": {"arguments": "2}"}},
            ],
            [("a", {"x": 1}, "p"), ("a", {"x": 2}, "q")],
        ),
    ],
)
async def test_tool_calls_of_careless_endpoints_are_distinguished(
    endpoint: OpenAIEndpoint, provider: FakeProvider, deltas: list[Any], expected: list[Any]
) -> None:
    parts = [chunk({"tool_calls": [delta]}) for delta in deltas]
    provider.replies["careless"] = Reply((*parts, chunk({}, "stop"), b"data: [DONE]\n\n"))
    _, answer = await heard(endpoint.model("careless"), ask())
    calls = [(call.name, call.parameters, call.provider_id) for call in answer.message.tool_calls]
    assert calls == expected
    assert answer.finish_reason == "tool_calls"


@pytest.mark.parametrize("written", ["{oops", "[1]", '"x"', '{"a":' * 65 + "1" + "}" * 65])
async def test_arguments_that_are_no_object_are_kept_as_invalid(
    endpoint: OpenAIEndpoint, provider: FakeProvider, written: str
) -> None:
    delta = {"index": 0, "id": "p", "function": {"name": "a", "arguments": written}}
    provider.replies["bad"] = Reply((chunk({"tool_calls": [delta]}), chunk({}, "tool_calls")))
    _, answer = await heard(endpoint.model("bad"), ask())
    (call,) = answer.message.tool_calls
    assert (call.parameters, call.invalid) == ({}, written)


async def test_an_answer_in_one_piece_is_taken(
    endpoint: OpenAIEndpoint, provider: FakeProvider
) -> None:
    choice = {"message": {"role": "assistant", "content": "All."}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    body = orjson.dumps({"model": "m", "choices": [choice], "usage": usage})
    provider.replies["whole"] = Reply((body[:20], body[20:]), "application/json")
    pieces, answer = await heard(endpoint.model("whole"), ask())
    assert pieces == [TextPiece("All.")]
    assert (answer.usage, answer.model) == (Usage(3, 1), "m")


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (
            b'data: {"error": {"message": "overloaded sk-abcdefgh1", "code": 500}}\n\n',
            ModelUnavailable,
        ),
        (b'data: {"error": {"code": "rate_limit_exceeded"}}\n\n', ModelRateLimited),
        (b'data: {"error": {"code": "context_length_exceeded"}}\n\n', ContextTooLong),
        (b"data: nonsense\n\n", ModelUnavailable),
        (b'data: {"choices": [3]}\n\n', ModelUnavailable),
        (b'data: {"choices": [{"delta": {"content": 5}}]}\n\n', ModelUnavailable),
        (b"", ModelUnavailable),
    ],
)
async def test_a_stream_that_goes_wrong_is_an_error(
    endpoint: OpenAIEndpoint, provider: FakeProvider, sent: bytes, error: type[Upstream]
) -> None:
    provider.replies["wrong"] = Reply(
        (chunk({"content": "a"}), sent) if sent else (chunk({"content": "a"}),)
    )
    with pytest.raises(Upstream) as raised:
        await heard(endpoint.model("wrong"), ask())
    assert type(raised.value) is error
    assert "sk-abc" not in str(raised.value)


def test_the_official_endpoint_needs_a_key() -> None:
    with pytest.raises(Misconfigured, match="OPENAI_API_KEY"):
        OpenAIEndpoint(of_environment({}), SystemClock())


def test_a_base_url_that_is_none_is_refused() -> None:
    with pytest.raises(Misconfigured, match="OPENAI_BASE_URL"):
        OpenAIEndpoint(of_environment({"OPENAI_BASE_URL": "localhost:8000"}), SystemClock())
