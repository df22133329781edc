"""The engine in this process, on each kind of database."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from outlast.model.agent import AgentSpec
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import EngineHarness, MakeEngine
from tests.support.tools import FakeTools, spec


@pytest.fixture
async def make_engine(database: Database) -> AsyncIterator[MakeEngine]:
    async with AsyncExitStack() as stack:

        async def made(
            model: Any,
            agent: AgentSpec | None = None,
            tools: FakeTools | None = None,
            **settings: Any,
        ) -> EngineHarness:
            clock = FakeClock()
            core = await stack.enter_async_context(
                database.core(
                    models=NamedModels({"actor": model}),
                    tools=tools or FakeTools(),
                    clock=clock,
                    drain_seconds=1,
                    **settings,
                )
            )
            caller = await owner(core)
            await core.services.agents.put(caller.workspace_id, [(agent or spec(), "1")])
            return EngineHarness(core, caller, model, clock)

        yield made
