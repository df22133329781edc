"""Odd answers over the real SDKs: what they read without a check is checked at our door."""

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from outlast.agents.models import bridge
from outlast.model.agent import ToolSpec
from outlast.model.clock import SystemClock
from outlast.model.error import ModelRateLimited, ModelUnavailable, Upstream
from outlast.model.message import (
    AssistantMessage,
    Message,
    Text,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from outlast.model.text import storable_message
from tests.agents.test_bridge import ask, heard, openai_chat
from tests.support.chat_endpoint import chunk
from tests.support.heartbeat import STILL, Heartbeat
from tests.support.provider import FakeProvider, Reply

pytest.importorskip("pydantic_ai")
pytest.importorskip("openai")
pytestmark = pytest.mark.anyio
DONE = b"data: [DONE]\n\n"
TEXT, STOP = chunk({"content": "Some"}), chunk({}, "stop")


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-123456")
        yield running


def call(**function: Any) -> bytes:
    return chunk({"tool_calls": [{"index": 0, "id": "a", "function": function}]})


async def test_halves_of_a_character_are_one_in_the_message(provider: FakeProvider) -> None:
    half = b'data: {"choices": [{"index": 0, "delta": {"content": "\\ud83d"}}]}\n\n'
    provider.replies["m"] = Reply((half, half.replace(b"d83d", b"de00"), STOP, DONE))
    pieces, answer = await heard(openai_chat("m"), ask())
    assert [piece.text for piece in pieces] == ["\ud83d", "\ude00"]
    assert storable_message(answer.message).parts == (Text("😀"),)


async def test_a_half_character_in_arguments_and_no_usage_is_an_answer(
    provider: FakeProvider,
) -> None:
    part = call(name="f", arguments='{"expression":"\\ud83d"}')
    provider.replies["m"] = Reply((part, chunk({}, "tool_calls"), DONE))
    _, answer = await heard(openai_chat("m"), ask())
    (made,) = storable_message(answer.message).tool_calls
    assert made.parameters == {"expression": "\ufffd"}
    assert answer.usage.estimated


def test_arguments_that_an_sdk_has_read_are_not_rounded() -> None:
    from pydantic_ai.messages import ToolCallPart

    from outlast.agents.models.bridge_messages import to_ours

    part = ToolCallPart("f", {"a": [10**22, "x"]}, "c")
    (made,) = to_ours((part,), SystemClock(), "p").tool_calls
    assert (made.parameters, made.invalid) == ({}, '{"a": [10000000000000000000000, "x"]}')


@pytest.mark.parametrize(
    "part",
    [
        call(name=[1], arguments="{}"),
        call(name={"a": 1}, arguments="{}"),
        call(name=5, arguments="{}"),
        chunk({}, "error"),
        b'data: {"error": {"message": "overloaded"}}\n\n',
    ],
)
async def test_what_is_no_text_and_what_is_no_success_is_unavailable(
    provider: FakeProvider, part: bytes
) -> None:
    provider.replies["m"] = Reply((TEXT, part, *(() if b'"error"' in part else (STOP,)), DONE))
    with pytest.raises(ModelUnavailable):
        await heard(openai_chat("m"), ask())


@pytest.mark.filterwarnings("ignore:Failed to extract usage")
async def test_usage_that_cannot_be_true_is_estimated(provider: FakeProvider) -> None:
    for figures in ((-1000, 3), (10**18, 3), (0, 0)):
        usage = {"prompt_tokens": figures[0], "completion_tokens": figures[1], "total_tokens": 3}
        last = orjson.dumps({"model": "m", "choices": [], "usage": usage})
        provider.replies["m"] = Reply((TEXT, STOP, b"data: " + last + b"\n\n", DONE))
        _, answer = await heard(openai_chat("m"), ask())
        assert answer.usage.estimated
        assert 0 < answer.usage.total_tokens < 100


async def test_a_spent_quota_is_not_tried_again_and_a_long_wait_says_when(
    provider: FakeProvider,
) -> None:
    spent = orjson.dumps({"error": {"code": "insufficient_quota", "message": "Spent."}})
    provider.replies["m"] = Reply((spent,), "application/json", status="429 X")
    with pytest.raises(ModelRateLimited) as raised:
        await heard(openai_chat("m"), ask())
    assert not raised.value.passing
    body, wait = orjson.dumps({"error": {"message": "Later."}}), "retry-after: 3600\r\n"
    provider.replies["m"] = Reply((body,), "application/json", status="429 X", headers=wait)
    with pytest.raises(ModelRateLimited, match="in 3600 s, at ") as raised:
        await heard(openai_chat("m"), ask())
    assert raised.value.retry_after == 3600


async def test_a_rare_charset_does_not_hold_up_the_loop(provider: FakeProvider) -> None:
    body = b"abc-" + b"zz9" * 100_000
    provider.replies["m"] = Reply((body,), "text/plain; charset=punycode", status="500 X")
    with pytest.raises(Upstream):  # pays for the imports
        await heard(bridge.BridgedModel.named("openai-chat:status-500", SystemClock()), ask())
    async with Heartbeat() as heart:
        with pytest.raises(Upstream):
            await heard(bridge.BridgedModel.named("openai-chat:m", SystemClock()), ask())
    assert heart.longest < STILL  # as punycode it takes twice that, and nothing else runs


async def test_an_answer_without_end_is_closed(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "MAX_ANSWER_BYTES", 1000)
    for part in (TEXT, call(name="f", arguments="x" * 100)):
        provider.replies["m"] = Reply((part,) * 500, hang=True)
        with pytest.raises(ModelUnavailable, match="larger than 1000 bytes") as raised:
            await heard(openai_chat("m"), ask())
        assert not raised.value.passing


async def test_what_goes_back_is_acceptable(provider: FakeProvider) -> None:
    first = ToolCall("tc_1", "look up!", {}, provider_id="call_0")
    second = ToolCall("tc_2", "look", {}, provider_id="call_0")
    results = (ToolMessage(c.id, c.name, "ok", provider_id="call_0") for c in (first, second))
    history: tuple[Message, ...] = (UserMessage("a"), AssistantMessage((first, second)), *results)
    place = {"type": "object", "properties": {"at": {"type": "array"}}}
    schema = {
        "type": "object",
        "properties": {"place": {"$ref": "#/$defs/Place"}},
        "$defs": {"Place": place},
    }
    arguments = orjson.dumps({"place": '{"at": []}'}).decode()
    provider.replies["m"] = Reply((call(name="look", arguments=arguments), STOP, DONE))
    tools = (ToolSpec("look", "Looks.", schema),)
    _, answer = await heard(openai_chat("m"), ask(*history, tools=tools))
    assert answer.message.tool_calls[0].parameters == {"place": {"at": []}}
    sent = provider.requests[-1]
    assert "$ref" not in str(sent["tools"])
    assistant = sent["messages"][2]
    assert [c["id"] for c in assistant["tool_calls"]] == ["call_0", "tc_2"]
    assert [c["function"]["name"] for c in assistant["tool_calls"]] == ["look_up_", "look"]
    assert [m["tool_call_id"] for m in sent["messages"][3:]] == ["call_0", "tc_2"]
