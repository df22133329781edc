"""A client of the tasks room."""

import pytest

from outlast.testing import FakeClock
from tests.support.api import MakeApi
from tests.support.tasks_room import TasksClient


@pytest.fixture
async def tasks_client(make_api: MakeApi) -> TasksClient:
    """Of a server whose agent says Hello, where time moves by hand."""
    clock = FakeClock()
    return TasksClient(await make_api(clock=clock), clock)
