"""One deployment for the tests of a module, on each kind of database."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.support.databases import Database
from tests.support.deployment import Deployment
from tests.support.processes import CountingToolServer
from tests.support.provider import FakeProvider


@pytest.fixture(scope="module")
async def deployment(
    anyio_backend: Any,
    module_database: Database,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Deployment]:
    """A deployment whose agents the module deploys; nothing is started yet."""
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(FakeProvider())
        tools = await stack.enter_async_context(CountingToolServer())
        made = Deployment(tmp_path_factory.mktemp("site"), module_database, provider, tools)
        stack.push_async_callback(made.close)
        yield made


@pytest.fixture(autouse=True)
async def _answering(deployment: Deployment) -> AsyncIterator[None]:
    """Tools that a test has held back answer the next one."""
    yield
    deployment.tools.answering.set()
