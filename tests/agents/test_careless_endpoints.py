"""Endpoints that call themselves OpenAI-compatible, in the ways in which they are not."""

from typing import Any

import orjson
import pytest

from outlast.agents.models.openai_chat import OpenAIEndpoint
from outlast.agents.port import MAX_CALLS, ModelRequest, TextPiece, ThinkingPiece
from outlast.model.agent import ToolSpec
from outlast.model.error import ContextTooLong, ModelRateLimited, ModelUnavailable, Upstream
from outlast.model.message import AssistantMessage, Text, Thinking, ToolCall, ToolMessage
from outlast.model.message import UserMessage as User
from outlast.model.usage import Usage
from tests.support.chat_endpoint import ask, chunk, heard, opened
from tests.support.heartbeat import STILL, Heartbeat
from tests.support.provider import FakeProvider, Reply

pytestmark = pytest.mark.anyio
DONE = b"data: [DONE]\n\n"
PARIS, ROME = '{"city": "Paris"}', '{"city": "Rome"}'


def d(index: Any, call_id: Any, name: Any, arguments: Any) -> dict[str, Any]:
    given = {"index": index, "id": call_id}
    function = {"name": name, "arguments": arguments}
    return {
        **{key: value for key, value in given.items() if value is not None},
        "function": {key: value for key, value in function.items() if value is not None},
    }


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        (
            [d(0, "", "get_weather", PARIS), d(0, "", "get_weather", ROME)],
            [("get_weather", "Paris"), ("get_weather", "Rome")],
        ),
        (
            [
                d(0, "a", "get_weather", ""),
                d(0, "b", "get_weather", '{"city":'),
                d(0, "c", "get_weather", ' "Paris"}'),
            ],
            [("get_weather", "Paris")],
        ),
        (
            [
                d(0, "a", "get_weather", PARIS),
                d(0, "b", "get_weather", ""),
                d(1, None, None, '{"city":'),
                d(1, None, None, ' "Rome"}'),
            ],
            [("get_weather", "Paris"), ("get_weather", "Rome")],
        ),
        (
            [d(0, "a", "get_", ""), d(0, None, "weather", '{"city":'), d(0, None, None, '"Oslo"}')],
            [("get_weather", "Oslo")],
        ),
        (
            [d(0, "a", "get_", ""), d(0, "a", "weather", ""), d(0, "a", None, PARIS)],
            [("get_weather", "Paris")],
        ),
        ([d(0, "a", "f", '{"city": "}{\\"'), d(0, "a", "f", '"}')], [("f", '}{"')]),
        (
            [d(0, "a", "f", PARIS), d(0, "a", None, ""), d(1, None, None, " ")],
            [("f", "Paris")],
        ),
        (
            [d(None, None, "f", PARIS), d(None, None, "f", ROME)],
            [("f", "Paris"), ("f", "Rome")],
        ),
        ([d(0, 7, "f", '{"city":'), d("0", 7, None, '"Bonn"}')], [("f", "Bonn")]),
        ([d(0, "a", "f", '{"city":'), d(None, None, None, '"Bonn"}')], [("f", "Bonn")]),
        ([d(0, "a", "f", orjson.dumps(PARIS).decode())], [("f", "Paris")]),
        ([d(0, "a", "f", '{"city": "\\ud83d'), d(0, "a", None, '\\ude00"}')], [("f", "😀")]),
    ],
)
async def test_the_calls_of_an_answer_are_distinguished(
    endpoint: OpenAIEndpoint,
    provider: FakeProvider,
    deltas: list[dict[str, Any]],
    expected: list[tuple[str, str]],
) -> None:
    parts = [chunk({"tool_calls": [delta]}) for delta in deltas]
    provider.replies["m"] = Reply((*parts, chunk({}, "tool_calls"), DONE))
    _, answer = await heard(endpoint.model("m"), ask())
    calls = [(call.name, call.parameters.get("city")) for call in answer.message.tool_calls]
    assert calls == expected


async def test_many_calls_in_one_event_do_not_hold_up_the_loop(
    endpoint: OpenAIEndpoint, provider: FakeProvider
) -> None:
    calls = [d(index, f"c{index}", "f", PARIS) for index in range(60_000)]
    provider.replies["m"] = Reply((chunk({"tool_calls": calls}), chunk({}, "tool_calls")))
    async with Heartbeat() as heart:
        _, answer = await heard(endpoint.model("m"), ask())
    assert heart.longest < STILL  # quadratic, they take ten times that
    assert len(answer.message.tool_calls) == MAX_CALLS + 1  # one more than the engine takes


TEXT = chunk({"content": "Some"})


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        ((TEXT, chunk({}, "error")), ModelUnavailable),
        ((TEXT, chunk({}, "network_error")), ModelUnavailable),
        ((TEXT, chunk({}, "insufficient_system_resource")), ModelUnavailable),
        ((TEXT, chunk({}, "MALFORMED_FUNCTION_CALL")), ModelUnavailable),
        ((TEXT, chunk({}, "aborted")), ModelUnavailable),
        ((DONE,), ModelUnavailable),
        ((chunk({"role": "assistant"}), chunk({"content": ""}), DONE), ModelUnavailable),
        ((chunk({"reasoning_content": "hm"}), DONE), ModelUnavailable),
        ((TEXT, b'data: {"error": "overloaded"}\n\n', DONE), ModelUnavailable),
        ((TEXT, b'data: {"choices": [{"error": {"code": 502}}]}\n\n'), ModelUnavailable),
        (
            (TEXT, b'data: {"choices": [{"error": {"code": 429}, "finish_reason": "stop"}]}\n\n'),
            ModelRateLimited,
        ),
        ((TEXT, b'event: error\ndata: {"message": "no"}\n\n', DONE), ModelUnavailable),
        ((TEXT, b'event: error\ndata: {"error": {"message": "no"}}\n\n'), ModelUnavailable),
        ((TEXT, b"event: error\ndata: no\n\n"), ModelUnavailable),
        ((TEXT, b'event: error\ndata: {"error": {"code": 429}}\n\n'), ModelRateLimited),
        ((TEXT, b'event: error\ndata: {"code": "insufficient_quota"}\n\n'), ModelRateLimited),
        ((TEXT, b'event: error\ndata: {"message": "prompt is too long"}\n\n'), ContextTooLong),
        ((TEXT, b'data: {"object": "error", "message": "no"}\n\n', DONE), ModelUnavailable),
        ((TEXT, b'data: {"type": "error", "error": {"type": "x"}}\n\n'), ModelUnavailable),
        (
            (TEXT, b'data: {"error": {"message": "maximum context length is 9"}}\n\n'),
            ContextTooLong,
        ),
        ((TEXT, b'data: {"error": {"code": "insufficient_quota"}}\n\n'), ModelRateLimited),
        ((TEXT, b'data: {"error": %b}\n\n' % (b'{"a":' * 400 + b"1" + b"}" * 400)), Upstream),
    ],
)
async def test_success_is_not_assumed(
    endpoint: OpenAIEndpoint,
    provider: FakeProvider,
    parts: tuple[bytes, ...],
    error: type[Upstream],
) -> None:
    provider.replies["m"] = Reply(parts)
    with pytest.raises(error) as raised:
        await heard(endpoint.model("m"), ask())
    assert raised.value.passing is (error is not ContextTooLong and b"quota" not in parts[-1])


@pytest.mark.parametrize(
    "part",
    [
        {"choices": [{"delta": {"tool_calls": [d(0, "a", [1], "")]}}]},
        {"choices": [{"delta": {"tool_calls": [d(0, "a", 5, "")]}}]},
        {"choices": [{"delta": {"tool_calls": [d(0, {"a": 1}, "f", "")]}}]},
        {"choices": [{"delta": {"tool_calls": [d(0, "a", "f" * 2000, "")]}}]},
        {"choices": [{"delta": {"tool_calls": {"a": 1}}}]},
        {"choices": [{"delta": {"tool_calls": [{"function": [1]}]}}]},
        {"choices": [{"delta": {}, "finish_reason": 5}]},
        {"choices": [{"delta": {}, "finish_reason": ["stop"]}]},
        {"choices": [{"delta": {}, "finish_reason": "x" * 1000}]},
        {"choices": [{"delta": [1]}]},
        {"choices": [{"delta": {"content": {"text": ["x"]}}}]},
        {"choices": [{"delta": {"content": [5]}}]},
        {"choices": [{"delta": {"reasoning_content": 5}}]},
        {"choices": [{"delta": {"refusal": 5}}]},
        {"choices": {"0": 1}},
        {"choices": 5},
        {"model": 5, "choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"model": "x" * 1000, "choices": [{"delta": {}, "finish_reason": "stop"}]},
        [1],
        5,
        "text",
        None,
    ],
)
async def test_a_field_of_another_type_is_no_completion(
    endpoint: OpenAIEndpoint, provider: FakeProvider, part: Any
) -> None:
    whole = part
    if isinstance(part, dict) and isinstance(part.get("choices"), list):
        (choice,) = part["choices"]
        whole = {**part, "choices": [{**choice, "message": choice["delta"]}]}
    provider.replies["m"] = Reply((TEXT, b"data: " + orjson.dumps(part) + b"\n\n", DONE))
    with pytest.raises(ModelUnavailable):
        await heard(endpoint.model("m"), ask())
    provider.replies["whole"] = Reply((orjson.dumps(whole),), "application/json")
    with pytest.raises(ModelUnavailable):
        await heard(endpoint.model("whole"), ask())


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -1000, "completion_tokens": 3},
        {"prompt_tokens": 3.5, "completion_tokens": 3},
        {"prompt_tokens": 3, "completion_tokens": 10**18},
        {"prompt_tokens": True, "completion_tokens": 3},
        {"prompt_tokens": "12", "completion_tokens": 3},
        {"prompt_tokens": 3, "completion_tokens": {"a": 1}},
        {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": -5}},
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"total_tokens": 7},
        [3, 4],
        7,
        "many",
    ],
)
async def test_usage_that_cannot_be_true_is_estimated(
    endpoint: OpenAIEndpoint, provider: FakeProvider, usage: Any
) -> None:
    last = orjson.dumps({"choices": [], "usage": usage})
    provider.replies["m"] = Reply((TEXT, chunk({}, "stop"), b"data: " + last + b"\n\n", DONE))
    _, answer = await heard(endpoint.model("m"), ask())
    assert answer.usage == Usage(2, 1, estimated=True)


async def test_usage_in_whole_floats_is_believed_and_more_cached_than_read_is_all(
    endpoint: OpenAIEndpoint, provider: FakeProvider
) -> None:
    usage = b'{"prompt_tokens": 9.0, "completion_tokens": 2, "prompt_tokens_details":'
    last = b'data: {"choices": [], "usage": %b {"cached_tokens": 50}}}\n\n' % usage
    provider.replies["m"] = Reply((TEXT, chunk({}, "stop"), last))
    _, answer = await heard(endpoint.model("m"), ask())
    assert answer.usage == Usage(9, 2, cache_read_tokens=9)


async def test_an_estimate_counts_the_tools(
    endpoint: OpenAIEndpoint, provider: FakeProvider
) -> None:
    provider.replies["m"] = Reply((TEXT, chunk({}, "stop")))
    tool = ToolSpec("look", "Looks.", {"type": "object", "description": "x" * 400})
    _, answer = await heard(endpoint.model("m"), ask(tools=(tool,)))
    assert 100 < answer.usage.input_tokens < 130


@pytest.mark.parametrize(
    ("deltas", "expected"),
    [
        ([{"content": [{"type": "text", "text": "a"}, {"text": "b"}, "c"]}], [Text("abc")]),
        (
            [
                {"content": [{"type": "thinking", "thinking": [{"text": "hm"}]}]},
                {"content": [{"type": "text", "text": "a"}, {"type": "image", "url": "x"}]},
            ],
            [Thinking("hm"), Text("a")],
        ),
        ([{"refusal": "I can"}, {"refusal": "not."}], [Text("I cannot.")]),
        ([{"content": None, "refusal": None, "reasoning": "hm"}], [Thinking("hm")]),
    ],
)
async def test_content_in_other_shapes_is_shown(
    endpoint: OpenAIEndpoint, provider: FakeProvider, deltas: list[Any], expected: list[Any]
) -> None:
    provider.replies["m"] = Reply((*map(chunk, deltas), chunk({}, "stop"), DONE))
    pieces, answer = await heard(endpoint.model("m"), ask())
    assert list(answer.message.parts) == expected
    assert "".join(piece.text for piece in pieces) == "".join(part.text for part in expected)


async def test_a_stream_is_read_by_the_whole_of_its_standard(
    endpoint: OpenAIEndpoint, provider: FakeProvider
) -> None:
    for stream in (
        b"\xef\xbb\xbfdata: " + chunk({"content": "é"})[6:] + b"data:\n\n: c\n\n" + DONE,
        chunk({"content": "é"}, "stop") + b"data: [DONE]  \n\n" + chunk({"content": "more"}),
        chunk({"content": "é"}).replace(b"\n", b"\r") + b"data:  [DONE]\r\r",
        chunk({"content": "é"}, "stop") + DONE + b"data: garbage\n\nevent: error\ndata: x\n\n",
        b" \n\n" + chunk({"content": "é"}, "stop"),
    ):
        for size in (1, 2, len(stream)):
            parts = tuple(stream[at : at + size] for at in range(0, len(stream), size))
            provider.replies["m"] = Reply(parts)
            pieces, _ = await heard(endpoint.model("m"), ask())
            assert pieces == [TextPiece("é")]


async def test_half_a_character_in_json_is_read(
    endpoint: OpenAIEndpoint, provider: FakeProvider
) -> None:
    half = b'data: {"choices": [{"delta": {"content": "\\ud83d"}}]}\n\n'
    provider.replies["m"] = Reply((half, half.replace(b"d83d", b"de00"), chunk({}, "stop")))
    pieces, _ = await heard(endpoint.model("m"), ask())
    assert pieces == [TextPiece("\ud83d"), TextPiece("\ude00")]


async def test_an_answer_without_end_is_closed(provider: FakeProvider) -> None:
    provider.replies["m"] = Reply((TEXT,) * 100, hang=True)
    provider.replies["whole"] = Reply((b"{" + b" " * 4000,) * 2, "application/json", hang=True)
    async with opened(provider.url, max_answer_bytes=4000) as endpoint:
        for number, name in enumerate(("m", "whole"), 1):
            with pytest.raises(ModelUnavailable, match="larger than 4000 bytes") as raised:
                await heard(endpoint.model(name), ask())
            assert not raised.value.passing
            await provider.wait_cut(number)


LOOK = ToolSpec(
    "look",
    "Looks.",
    {
        "type": "object",
        "properties": {"place": {"$ref": "#/$defs/Place"}, "tree": {"$ref": "#/$defs/Tree"}},
        "$defs": {
            "Place": {"type": "object", "properties": {"at": {"$ref": "#/$defs/At"}}},
            "At": {"type": "array", "items": {"type": "number"}},
            "Tree": {"type": "object", "properties": {"sub": {"$ref": "#/$defs/Tree"}}},
        },
    },
)


async def test_references_that_do_not_recurse_are_inlined_and_strings_of_json_read(
    endpoint: OpenAIEndpoint, provider: FakeProvider
) -> None:
    arguments = {"place": '{"at": "[1, 2]"}', "tree": '{"sub": {}}', "other": "{}"}
    delta = d(0, "a", "look", orjson.dumps(arguments).decode())
    provider.replies["m"] = Reply((chunk({"tool_calls": [delta]}), chunk({}, "tool_calls")))
    _, answer = await heard(endpoint.model("m"), ask(tools=(LOOK,)))
    (call,) = answer.message.tool_calls
    assert call.parameters == {"place": {"at": [1, 2]}, "tree": {"sub": {}}, "other": "{}"}
    sent = provider.requests[-1]["tools"][0]["function"]["parameters"]["properties"]
    at = {"type": "array", "items": {"type": "number"}}
    assert sent["place"] == {"type": "object", "properties": {"at": at}}
    assert sent["tree"] == {"$ref": "#/$defs/Tree"}


def answered(*calls: ToolCall) -> tuple[Any, ...]:
    answers = (ToolMessage(c.id, c.name, "ok", provider_id=c.provider_id) for c in calls)
    return (AssistantMessage(calls), *answers)


async def test_ids_that_go_back_are_unique_and_names_are_names(
    endpoint: OpenAIEndpoint, provider: FakeProvider
) -> None:
    first = ToolCall("tc_1", "look up!", {}, provider_id="call_0")
    second = ToolCall("tc_2", "é" * 80, {}, provider_id="call_0")
    third = ToolCall("tc_3", "", {}, provider_id="x" * 300)
    history = (User("a"), *answered(first, second), User("b"), *answered(third))
    await heard(endpoint.model("words-1"), ask(*history))
    messages = provider.requests[-1]["messages"]
    calls = [call for message in messages for call in message.get("tool_calls", ())]
    assert [call["id"] for call in calls] == ["call_0", "tc_2", "tc_3"]
    assert [call["function"]["name"] for call in calls] == ["look_up_", "_" * 64, "unnamed"]
    answers = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    assert answers == ["call_0", "tc_2", "tc_3"]


SIGNED = {"google": {"thought_signature": "c2ln"}, "other": [1]}


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
async def test_what_a_provider_wants_back_goes_back_to_it_alone(
    endpoint: OpenAIEndpoint, provider: FakeProvider, name: str
) -> None:
    calls = [{**d(0, "a", "f", "{}"), "extra_content": SIGNED}, d(1, "b", "g", "{}")]
    parts = (chunk({name: "Let me "}), chunk({name: "see."}), chunk({"tool_calls": calls}))
    provider.replies["m"] = Reply((*parts, chunk({}, "tool_calls"), DONE))
    pieces, answer = await heard(endpoint.model("m"), ask())
    assert pieces == [ThinkingPiece("Let me "), ThinkingPiece("see.")]
    said, *results = answered(*answer.message.tool_calls)
    assert isinstance(said, AssistantMessage)
    provider.replies["m"] = Reply((TEXT, chunk({}, "stop")))
    history = (User("a"), answer.message, *results, User("b"))
    await heard(endpoint.model("m"), ask(*history))
    sent = provider.requests[-1]["messages"][1]
    assert sent[name] == "Let me see."
    assert [call.get("extra_content") for call in sent["tool_calls"]] == [SIGNED, None]
    await heard(endpoint.model("words-1"), ask(*history))
    sent = provider.requests[-1]["messages"][1]
    assert name not in sent
    assert not any("extra_content" in call for call in sent["tool_calls"])


async def test_reasoning_without_calls_is_not_sent_back(
    endpoint: OpenAIEndpoint, provider: FakeProvider
) -> None:
    provider.replies["m"] = Reply((chunk({"reasoning_content": "hm"}), TEXT, chunk({}, "stop")))
    _, answer = await heard(endpoint.model("m"), ask())
    assert answer.message.parts == (Thinking("hm"), Text("Some"))
    await heard(endpoint.model("m"), ModelRequest("", (User("a"), answer.message, User("b"))))
    assert provider.requests[-1]["messages"][1] == {"role": "assistant", "content": "Some"}
