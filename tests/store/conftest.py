"""The store under test: every implementation of the port, by the `store` fixture."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from outlast.model.execution import (
    Execution,
)
from outlast.store.port import (
    Store,
)
from outlast.testing import FakeClock
from tests.store.moves import IMPLEMENTATIONS, Heard, new


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture(params=IMPLEMENTATIONS)
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, heard: Heard
) -> AsyncIterator[Store]:
    made = IMPLEMENTATIONS[request.param](tmp_path)
    made.listen(heard.listeners())
    await made.open()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def create(store: Store, clock: FakeClock) -> Callable[..., Awaitable[Execution]]:
    async def made(**more: Any) -> Execution:
        return (await store.create(new(clock, **more))).execution

    return made
