"""How images go to models: behind the results on the wire of OpenAI, inside them on Anthropic's."""

from base64 import b64encode
from contextlib import aclosing
from typing import Any

import pytest

from outlast.agents.models.bridge import BridgedModel
from outlast.agents.models.refusal import scrub
from outlast.agents.port import Model, ModelRequest
from outlast.model.clock import SystemClock
from outlast.model.image import WholeImage
from outlast.model.message import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from outlast.model.provider import ProviderSpec
from tests.agents.test_bridge import CLAUDE, SPEECH, anthropic_stream
from tests.support.chat_endpoint import opened
from tests.support.images import png
from tests.support.provider import FakeProvider

pytestmark = pytest.mark.anyio

BASE64 = b64encode(png(1)).decode()


def image(seed: int) -> WholeImage:
    found = WholeImage.of(png(seed))
    assert found is not None
    return found


DRAWN, OLD = image(1), image(2)
TEXTS = [OLD.image.placeholder, DRAWN.image.placeholder]
MESSAGES: tuple[Message, ...] = (
    UserMessage("Draw"),
    AssistantMessage((ToolCall("tc_1", "draw", {}), ToolCall("tc_2", "look", {}))),
    ToolMessage("tc_1", "draw", TEXTS, images=(OLD.image, DRAWN.image)),
    ToolMessage("tc_2", "look", "It is there."),
    AssistantMessage((ToolCall("tc_3", "look", {}),)),
    ToolMessage("tc_3", "look", "Still."),
)
REQUEST = ModelRequest("Be kind.", MESSAGES, images={DRAWN.image.id: DRAWN.data})
"""Two calls of one answer; the first has brought two images, of which one is shown."""


async def sent(provider: FakeProvider, model: Model, request: ModelRequest) -> list[dict[str, Any]]:
    async with aclosing(model.stream(request)) as events:
        async for _ in events:
            pass
    found: list[dict[str, Any]] = provider.requests[-1]["messages"]
    return found


async def test_on_openai_s_wire_they_follow_all_results_of_an_answer() -> None:
    async with FakeProvider() as provider, opened(provider.url) as endpoint:
        found = await sent(provider, endpoint.model("words-1"), REQUEST)
        roles = ["system", "user", "assistant", "tool", "tool", "user", "assistant", "tool"]
        assert [one["role"] for one in found] == roles
        assert found[3]["content"] == f'["{TEXTS[0]}","{TEXTS[1]}"]'
        said, shown = found[5]["content"]
        assert said["type"] == "text"
        assert DRAWN.image.id in said["text"]
        assert "the tool draw" in said["text"]
        url = f"data:image/png;base64,{BASE64}"
        assert shown == {"type": "image_url", "image_url": {"url": url}}
        last = await sent(
            provider,
            endpoint.model("words-1"),
            ModelRequest("", MESSAGES[:4], images=REQUEST.images),
        )
        assert [one["role"] for one in last[-3:]] == ["tool", "tool", "user"]
        plain = await sent(provider, endpoint.model("words-1"), ModelRequest("", MESSAGES))
        assert BASE64 not in str(plain)
        assert "user" not in [one["role"] for one in plain[1:]]


async def test_on_anthropic_s_wire_they_are_in_the_result() -> None:
    pytest.importorskip("anthropic")
    async with FakeProvider() as provider:
        provider.replies[CLAUDE] = anthropic_stream(SPEECH, stop="end_turn")
        spec = ProviderSpec("own", "anthropic", provider.url.removesuffix("/v1"), "sk-ant-1")
        model = BridgedModel.named(f"anthropic:{CLAUDE}", SystemClock(), provider=spec)
        try:
            found = await sent(provider, model, REQUEST)
        finally:
            await model.close()
    drawn, looked = found[2]["content"]
    assert (drawn["type"], drawn["tool_use_id"]) == ("tool_result", "tc_1")
    assert looked["content"] == [{"type": "text", "text": "It is there."}]
    text, shown = drawn["content"]
    assert text["text"] == f'["{TEXTS[0]}","{TEXTS[1]}"]'
    source = {"type": "base64", "media_type": "image/png", "data": BASE64}
    assert (shown["type"], shown["source"]) == ("image", source)
    assert [one["type"] for one in found[4]["content"][0]["content"]] == ["text"]


def test_an_error_repeats_no_bytes_of_an_image() -> None:
    long = b64encode(bytes(range(256)) * 3).decode()
    for text in (f"Invalid image: data:image/png;base64,{BASE64}.", f"not an image: {long} (400)"):
        found = scrub(text)
        assert BASE64 not in found
        assert long[:40] not in found
        assert "[hidden]" in found
