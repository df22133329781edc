"""A client of the tasks room."""

from collections.abc import AsyncIterator

import pytest

from outlast.testing import FakeClock
from tests.support.api import MakeApi, SharedServer, shared_server_on
from tests.support.databases import Database
from tests.support.tasks_room import TasksClient


@pytest.fixture(scope="module")
def clock() -> FakeClock:
    """The time of the module's server."""
    return FakeClock()


@pytest.fixture(scope="module")
async def shared_server(module_database: Database, clock: FakeClock) -> AsyncIterator[SharedServer]:
    """One for all tests of a module, where time moves by hand."""
    async with shared_server_on(module_database, clock) as server:
        yield server


@pytest.fixture
async def tasks_client(share_api: MakeApi, clock: FakeClock) -> TasksClient:
    """Of a server whose agent says Hello."""
    return TasksClient(await share_api(), clock)
