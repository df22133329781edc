"""The desk of a tasks test."""

import pytest

from outlast.testing import FakeClock
from tests.rooms.conftest import Build
from tests.rooms.tasks.desk import Desk


@pytest.fixture
async def desk(build: Build) -> Desk:
    """At a house whose agent says Hello, where time moves by hand."""
    clock = FakeClock()
    return Desk(await build(clock=clock), clock)
