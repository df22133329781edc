"""Fixtures of the tests of HTTP tools."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from outlast.agents.tools.toolbox import ToolBox
from tests.support.clocks import InstantClock
from tests.support.http_tools import HttpToolServer


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
