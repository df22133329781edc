"""Fixtures of the tests of HTTP tools."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from outlast.agents.tools.toolbox import ToolBox
from tests.agents.shop import PatientClock, Shop


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    shop = Shop()
    server = await asyncio.start_server(shop.serve, "127.0.0.1", 0)
    shop.port = server.sockets[0].getsockname()[1]
    yield shop
    server.close()


@pytest.fixture
def clock() -> PatientClock:
    return PatientClock()


@pytest.fixture
async def box(clock: PatientClock) -> AsyncIterator[ToolBox]:
    box = ToolBox(clock, environ={"SHOP_TOKEN": "s3cret-token", "BAD": "s3cret\nx"})
    yield box
    await box.close()
