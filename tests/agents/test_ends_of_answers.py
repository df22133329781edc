"""How answers of chat completions end, beside the way that is documented."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from outlast.agents.models import openai_chat
from outlast.agents.models.openai_chat import OpenAIEndpoint
from outlast.agents.models.providers import of_environment
from outlast.model.clock import SystemClock
from outlast.model.error import ModelRejected, ModelUnavailable
from tests.support.chat_endpoint import ask, chunk, heard, opened
from tests.support.provider import FakeProvider, Reply
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio


@pytest.fixture
async def endpoint(provider: FakeProvider) -> AsyncIterator[OpenAIEndpoint]:
    async with opened(provider.url, read_timeout=0.1) as made:
        yield made


@pytest.mark.parametrize("cut", [True, False])
async def test_a_finished_answer_whose_connection_breaks_off_is_taken(
    endpoint: OpenAIEndpoint, provider: FakeProvider, *, cut: bool
) -> None:
    provider.replies["m"] = Reply(
        (chunk({"content": "All."}), chunk({}, "stop")), cut=cut, hang=True
    )
    _, answer = await heard(endpoint.model("m"), ask())
    assert (answer.message.text, answer.usage.estimated) == ("All.", True)
    provider.replies["m"] = Reply((chunk({"content": "All."}),), cut=cut, hang=True)
    with pytest.raises(ModelUnavailable):
        await heard(endpoint.model("m"), ask())


async def test_the_end_of_a_finished_answer_is_not_waited_for_as_long_as_its_words(
    provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_chat, "USAGE_SECONDS", 0.1)
    endpoint = OpenAIEndpoint(of_environment({"OPENAI_BASE_URL": provider.url}), SystemClock())
    provider.replies["m"] = Reply((chunk({"content": "All."}), chunk({}, "stop")), hang=True)
    async with asyncio.timeout(BOUND):
        _, answer = await heard(endpoint.model("m"), ask())
    assert answer.message.text == "All."
    await provider.wait_cut()
    await endpoint.close()


@pytest.mark.parametrize("reason", ["tool_calls", "function_call"])
async def test_an_answer_that_calls_a_tool_and_names_none_is_unavailable(
    endpoint: OpenAIEndpoint, provider: FakeProvider, reason: str
) -> None:
    old = chunk({"function_call": {"name": "lookup", "arguments": "{}"}})
    provider.replies["m"] = Reply((old, chunk({}, reason)))
    with pytest.raises(ModelUnavailable, match="nothing said"):
        await heard(endpoint.model("m"), ask())


async def test_a_web_page_says_that_the_base_url_may_be_wrong(
    endpoint: OpenAIEndpoint, provider: FakeProvider
) -> None:
    provider.replies["m"] = Reply((b"\n <html>Sign in</html>",), "text/html")
    with pytest.raises(ModelUnavailable, match=r"base URL right\? <html>Sign in</html>"):
        await heard(endpoint.model("m"), ask())


async def test_where_nothing_is_found_the_address_is_shown(
    endpoint: OpenAIEndpoint, provider: FakeProvider
) -> None:
    with pytest.raises(ModelRejected, match=f"answered 404 at {provider.url}/chat/completions: "):
        await heard(endpoint.model("status-404"), ask())
