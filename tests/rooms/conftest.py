"""The HTTP API in this process, on each kind of database."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from outlast.model.agent import AgentSpec
from outlast.model.clock import SystemClock
from outlast.model.workspace import Principal, Scope
from outlast.testing import NamedModels
from tests.support.api import Api
from tests.support.databases import Database
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, spec

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
            keys = core.services.keys
            workspace = await core.services.workspaces.put("default")
            made_key = await keys.create(workspace.id, "owner", scopes)
            caller = Principal(made_key.key.id, workspace.id, scopes)
            await core.services.agents.put(workspace.id, [(agent or spec(), "1")])
            api = Api(core, caller, made_key.secret)
            stack.push_async_callback(api.client.aclose)
            return api

        yield made


@pytest.fixture
async def api(make_api: MakeApi) -> Api:
    """A server whose agent says Hello."""
    return await make_api()
