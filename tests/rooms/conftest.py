"""The HTTP API in this process, on each kind of database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from outlast.model.agent import AgentSpec
from outlast.model.clock import SystemClock
from outlast.model.workspace import Scope
from outlast.testing import NamedModels
from tests.support.api import Api, SharedServer, api_of, shared_server_on
from tests.support.databases import Database
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools

MakeApi = Callable[..., Awaitable[Api]]


@pytest.fixture
async def make_api(database: Database) -> AsyncIterator[MakeApi]:
    """Make a server: make_api(model, agent=…, tools=…, clock=…, settings…)."""
    async with AsyncExitStack() as stack:

        async def made(
            model: Any = None,
            agent: AgentSpec | None = None,
            tools: FakeTools | None = None,
            scopes: frozenset[Scope] = frozenset(Scope),
            **more: Any,
        ) -> Api:
            core = await stack.enter_async_context(
                database.core(
                    models=NamedModels({"actor": model or FakeModel(by_turn(["Hel", "lo"]))}),
                    tools=tools or FakeTools(),
                    clock=more.pop("clock", None) or SystemClock(),
                    drain_seconds=1,
                    **more,
                )
            )
            api = await api_of(core, agent=agent, scopes=scopes)
            stack.push_async_callback(api.client.aclose)
            return api

        yield made


@pytest.fixture(scope="module")
async def shared_server(module_database: Database) -> AsyncIterator[SharedServer]:
    """One for all tests of a module that need no other settings."""
    async with shared_server_on(module_database) as server:
        yield server


@pytest.fixture
async def share_api(shared_server: SharedServer) -> AsyncIterator[MakeApi]:
    """Make a workspace of the module's server: share_api(model, agent=…, tools=…, scopes=…).

    A test that looks at more of a server than its workspace makes its own, by `make_api`.
    """
    async with AsyncExitStack() as stack:

        async def made(*given: Any, **more: Any) -> Api:
            return await stack.enter_async_context(shared_server.api(*given, **more))

        yield made


@pytest.fixture
async def api(share_api: MakeApi) -> Api:
    """A new workspace of the module's server, with an agent that says Hello."""
    return await share_api()
