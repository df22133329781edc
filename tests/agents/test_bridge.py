"""pydantic-ai's models through our port: the real SDKs against the fake provider."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import orjson
import pytest

from outlast.agents.models.bridge import BridgedModel
from outlast.agents.port import Answer, CallPiece, ModelRequest, TextPiece, ThinkingPiece
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
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from outlast.model.provider import ProviderSpec
from outlast.model.usage import Usage
from tests.support.provider import FakeProvider, Reply
from tests.support.provider_chunks import text as words

pytest.importorskip("pydantic_ai")
pytest.importorskip("anthropic")
pytest.importorskip("openai")
pytestmark = pytest.mark.anyio

CLAUDE = "claude-fake-1"
CLOCK = SystemClock()
FIRST_IMPORT = 60.0
LOOKUP = ToolSpec(
    "lookup",
    "Look an order up",
    {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
)

OTHER = replace(LOOKUP, name="other")


def ask(*messages: Message, **more: Any) -> ModelRequest:
    return ModelRequest("Be kind.", messages or (UserMessage("Hello"),), **more)


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as running:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.url.removesuffix("/v1"))
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret-123456")
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-123456")
        yield running


async def heard(model: BridgedModel, request: ModelRequest) -> tuple[list[Any], Answer]:
    pieces: list[Any] = []
    try:
        async with asyncio.timeout(FIRST_IMPORT), aclosing(model.stream(request)) as events:
            async for event in events:
                if isinstance(event, Answer):
                    return pieces, event
                pieces.append(event)
    finally:
        await model.close()
    raise AssertionError("no answer")


def claude() -> BridgedModel:
    return BridgedModel.named(f"anthropic:{CLAUDE}", SystemClock())


def openai_chat(name: str) -> BridgedModel:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel(name, provider=OpenAIProvider())
    model.client.max_retries = 0
    return BridgedModel(name, model, SystemClock())


def anthropic_stream(*blocks: tuple[dict[str, Any], list[dict[str, Any]]], stop: str) -> Reply:
    """Blocks, each with its deltas, as Anthropic frames them."""
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 4,
        "cache_creation_input_tokens": 2,
        "output_tokens": 1,
    }
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": CLAUDE, "content": []}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {**start, "stop_reason": None, "usage": usage}}
    ]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [
            {"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas
        ]
        events.append({"type": "content_block_stop", "index": index})
    events.append(
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 9}}
    )
    events.append({"type": "message_stop"})
    return Reply(tuple(framed(event) for event in events))


def framed(event: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event))


THINKING = (
    {"type": "thinking", "thinking": "", "signature": ""},
    [
        {"type": "thinking_delta", "thinking": "Let me "},
        {"type": "thinking_delta", "thinking": "think."},
        {"type": "signature_delta", "signature": "c2ln"},
    ],
)
SPEECH = (
    {"type": "text", "text": ""},
    [{"type": "text_delta", "text": "I "}, {"type": "text_delta", "text": "look."}],
)
CALL = (
    {"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {}},
    [
        {"type": "input_json_delta", "partial_json": '{"id": '},
        {"type": "input_json_delta", "partial_json": '"7"}'},
    ],
)


async def test_anthropic_streams_thinking_text_and_a_tool_call(provider: FakeProvider) -> None:
    provider.replies[CLAUDE] = anthropic_stream(THINKING, SPEECH, CALL, stop="tool_use")
    pieces, answer = await heard(claude(), ask(tools=(LOOKUP,)))
    assert [piece for piece in pieces if not isinstance(piece, CallPiece)] == [
        ThinkingPiece("Let me "),
        ThinkingPiece("think."),
        TextPiece("I "),
        TextPiece("look."),
    ]
    assert [p.characters for p in pieces if isinstance(p, CallPiece)] == [len('{"id": '), 4]
    thinking, text, call = answer.message.parts
    assert isinstance(thinking, Thinking)
    assert (thinking.text, text) == ("Let me think.", Text("I look."))
    assert isinstance(call, ToolCall)
    assert (call.name, call.parameters, call.provider_id) == ("lookup", {"id": "7"}, "toolu_1")
    assert call.id.startswith("tc_")
    assert answer.usage == Usage(16, 9, cache_read_tokens=4, cache_write_tokens=2)
    assert (answer.finish_reason, answer.model) == ("tool_calls", CLAUDE)


async def test_a_signature_goes_back_to_the_provider_that_gave_it(provider: FakeProvider) -> None:
    provider.replies[CLAUDE] = anthropic_stream(THINKING, SPEECH, CALL, stop="tool_use")
    _, answer = await heard(claude(), ask(tools=(LOOKUP,)))
    (call,) = answer.message.tool_calls
    result = ToolMessage(call.id, "lookup", {"status": "sent"}, provider_id=call.provider_id)
    history = (UserMessage("Where?"), answer.message, result)
    await heard(claude(), ask(*history, tools=(LOOKUP, OTHER), tool_choice="lookup"))
    sent = provider.requests[-1]
    _, assistant, tool = sent["messages"]
    assert assistant["content"] == [
        {"type": "thinking", "thinking": "Let me think.", "signature": "c2ln"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "toolu_1", "name": "lookup", "input": {"id": "7"}},
    ]
    assert tool["content"][0]["tool_use_id"] == "toolu_1"
    assert tool["content"][0]["is_error"] is False
    assert sent["tool_choice"]["name"] == "lookup"
    assert "Be kind." in str(sent["system"])

    await heard(openai_chat("words-3"), ask(*history))
    assert "Let me think." not in str(provider.requests[-1])


async def test_openai_s_sdk_streams_words_with_usage(provider: FakeProvider) -> None:
    pieces, answer = await heard(openai_chat("words-12"), ask())
    assert "".join(piece.text for piece in pieces) == words(12)
    assert len(pieces) == 12
    assert answer.message == AssistantMessage((Text(words(12)),))
    assert (answer.usage, answer.finish_reason) == (Usage(20, 12), "stop")


async def test_openai_s_sdk_streams_parallel_tool_calls(provider: FakeProvider) -> None:
    settings = {"temperature": 0.5, "max_tokens": 7, "stop": ["x"], "seed": 3}
    _, answer = await heard(openai_chat("tools-2"), ask(tools=(LOOKUP,), settings=settings))
    assert [call.provider_id for call in answer.message.tool_calls] == ["call_0", "call_1"]
    sent = provider.requests[-1]
    assert (sent["temperature"], sent["stop"], sent["seed"]) == (0.5, ["x"], 3)
    assert sent["tools"][0]["function"]["parameters"] == LOOKUP.parameters


async def test_reasoning_effort_and_completion_tokens_reach_openai_s_sdk(
    provider: FakeProvider,
) -> None:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = BridgedModel("o", OpenAIChatModel("gpt-5-mini", provider=OpenAIProvider()), CLOCK)
    settings = {"reasoning_effort": "low", "max_completion_tokens": 9, "max_tokens": 7}
    await heard(model, ask(settings=settings))
    sent = provider.requests[-1]
    assert (sent["reasoning_effort"], sent["max_completion_tokens"]) == ("low", 7)


async def test_a_provider_searches_by_itself_and_only_its_text_is_ours(
    provider: FakeProvider,
) -> None:
    searched = (
        {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
        [{"type": "input_json_delta", "partial_json": '{"query": "whales"}'}],
    )
    page = {"type": "web_search_result", "title": "Whales", "url": "https://whales.example"}
    found: tuple[dict[str, Any], list[dict[str, Any]]] = (
        {
            "type": "web_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": [{**page, "encrypted_content": "c2VjcmV0", "page_age": None}],
        },
        [],
    )
    provider.replies[CLAUDE] = anthropic_stream(SPEECH, searched, found, SPEECH, stop="end_turn")
    settings = {"web_search": True}
    pieces, answer = await heard(claude(), ask(tools=(LOOKUP,), settings=settings))
    names = [tool["name"] for tool in provider.requests[-1]["tools"]]
    assert sorted(names) == ["lookup", "web_search"]
    assert "".join(piece.text for piece in pieces if isinstance(piece, TextPiece)) == (
        "I look.I look."
    )
    assert answer.message.parts == (Text("I look.I look."),)
    assert answer.finish_reason == "stop"
    provider.replies[CLAUDE] = anthropic_stream(SPEECH, stop="end_turn")
    await heard(claude(), ask(answer.message, UserMessage("Go on")))
    assert "tools" not in provider.requests[-1]


async def test_a_search_that_a_model_does_not_have_is_a_clear_error(
    provider: FakeProvider,
) -> None:
    del provider
    with pytest.raises(Misconfigured, match="WebSearchTool"):
        await heard(openai_chat("words-2"), ask(settings={"web_search": True}))


async def test_a_signature_of_one_account_is_not_sent_to_another(provider: FakeProvider) -> None:
    def account(name: str) -> BridgedModel:
        url = provider.url.removesuffix("/v1")
        spec = ProviderSpec(name, "anthropic", base_url=url, api_key="sk-ant-secret-123456")
        return BridgedModel.named(f"anthropic:{CLAUDE}", CLOCK, provider=spec)

    provider.replies[CLAUDE] = anthropic_stream(THINKING, SPEECH, stop="end_turn")
    _, answer = await heard(account("eu"), ask())
    history = (UserMessage("Hello"), answer.message, UserMessage("And?"))
    for name, kept in (("eu", True), ("us", False)):
        await heard(account(name), ask(*history))
        assert ("c2ln" in orjson.dumps(provider.requests[-1]).decode()) is kept


async def test_ids_and_thoughts_of_another_provider_do_not_reach_anthropic(
    provider: FakeProvider,
) -> None:
    provider.replies[CLAUDE] = anthropic_stream(SPEECH, stop="end_turn")
    theirs = '{"provider": "openai", "id": "rs_1", "signature": "private"}'
    call = ToolCall("tc_1", "lookup", {"id": "7"}, provider_id="functions.lookup:0")
    history = (
        UserMessage("Where?"),
        AssistantMessage((Thinking("secret thought", theirs), call)),
        ToolMessage("tc_1", "lookup", "sent"),
    )
    settings = {"reasoning_effort": "none"}
    await heard(claude(), ask(*history, tools=(LOOKUP,), settings=settings))
    sent = orjson.dumps(provider.requests[-1]["messages"]).decode()
    assert sent.count('"tc_1"') == 2
    for private in ("functions.lookup:0", "rs_1", "private", "secret thought"):
        assert private not in sent


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("status-401", ModelRejected),
        ("status-404", ModelRejected),
        ("too-long", ContextTooLong),
        ("status-429", ModelRateLimited),
        ("status-500", ModelUnavailable),
        ("garbage", ModelUnavailable),
        ("die-after-3", ModelUnavailable),
    ],
)
async def test_each_failure_of_openai_s_sdk_has_its_error(
    provider: FakeProvider, name: str, error: type[Upstream]
) -> None:
    with pytest.raises(Upstream) as raised:
        await heard(openai_chat(name), ask())
    assert type(raised.value) is error
    assert "sk-" not in str(raised.value)
    assert provider.request_count == 1
    if name.startswith("status"):
        assert f"answered {name[-3:]}: The fake provider is set" in str(raised.value)
    if isinstance(raised.value, ModelRateLimited):
        assert raised.value.retry_after == 7.0


@pytest.mark.parametrize(
    ("status", "kind", "error"),
    [
        ("401 X", "authentication_error", ModelRejected),
        ("529 X", "overloaded_error", ModelUnavailable),
        ("429 X", "rate_limit_error", ModelRateLimited),
    ],
)
async def test_each_refusal_of_anthropic_has_its_error(
    provider: FakeProvider, status: str, kind: str, error: type[Upstream]
) -> None:
    body = {"type": "error", "error": {"type": kind, "message": "No, sk-ant-secret-123456"}}
    reply = Reply((orjson.dumps(body),), "application/json", status=status)
    provider.replies[CLAUDE] = reply
    with pytest.raises(Upstream) as raised:
        await heard(claude(), ask())
    assert type(raised.value) is error
    assert "No," in str(raised.value)
    assert "secret" not in str(raised.value)
    assert provider.request_count == 1


async def test_an_anthropic_stream_that_breaks_off_is_unavailable(provider: FakeProvider) -> None:
    whole = anthropic_stream(SPEECH, stop="end_turn").parts
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    for parts, cut in (
        ((*whole[:3], framed(error)), False),
        (whole[:3], True),
        (whole[:3], False),
    ):
        provider.replies[CLAUDE] = Reply(parts, cut=cut)
        with pytest.raises(ModelUnavailable):
            await heard(claude(), ask())


async def test_errors_that_pydantic_ai_lets_through_are_unavailable(
    provider: FakeProvider,
) -> None:
    provider.replies[CLAUDE] = Reply((b"not gzip",), headers="content-encoding: gzip\r\n")
    with pytest.raises(ModelUnavailable, match="DecodingError"):
        await heard(claude(), ask())
    provider.replies["odd"] = Reply((b'data: {"choices": [3]}\n\n',))
    with pytest.raises(ModelUnavailable, match="AttributeError"):
        await heard(openai_chat("odd"), ask())


async def test_an_address_without_a_server_is_unavailable(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeProvider() as gone:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", gone.url)
    with pytest.raises(ModelUnavailable):
        await heard(claude(), ask())


@pytest.mark.parametrize("kind", ["anthropic", "openai"])
async def test_closing_the_stream_closes_the_socket(provider: FakeProvider, kind: str) -> None:
    start = anthropic_stream(SPEECH, stop="end_turn").parts[:3]
    provider.replies[CLAUDE] = Reply(start, hang=True)
    model = claude() if kind == "anthropic" else openai_chat("hang")
    events = model.stream(ask())
    assert isinstance(await anext(events), TextPiece)
    await events.aclose()
    await provider.wait_cut()
    await model.close()


async def test_a_missing_key_is_named(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with pytest.raises(Misconfigured, match="set ANTHROPIC_API_KEY"):
        claude()
