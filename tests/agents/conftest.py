"""Fixtures of the tests of HTTP tools, and of the client of chat completions."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from outlast.agents.models.openai_chat import OpenAIEndpoint
from outlast.agents.tools.toolbox import ToolBox
from tests.support.chat_endpoint import opened
from tests.support.clocks import InstantClock
from tests.support.http_tools import HttpToolServer
from tests.support.provider import FakeProvider


@pytest.fixture
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as running:
        yield running


@pytest.fixture
async def endpoint(provider: FakeProvider) -> AsyncIterator[OpenAIEndpoint]:
    async with opened(provider.url) as made:
        yield made


@pytest.fixture
async def tool_server() -> AsyncIterator[HttpToolServer]:
    tool_server = HttpToolServer()
    server = await asyncio.start_server(tool_server.serve, "127.0.0.1", 0)
    tool_server.port = server.sockets[0].getsockname()[1]
    yield tool_server
    server.close()


@pytest.fixture
def clock() -> InstantClock:
    return InstantClock()


@pytest.fixture
async def box(clock: InstantClock) -> AsyncIterator[ToolBox]:
    box = ToolBox(clock, environ={"SHOP_TOKEN": "s3cret-token", "BAD": "s3cret\nx"})
    yield box
    await box.close()
