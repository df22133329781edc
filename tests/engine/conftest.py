"""The world of an engine test."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from outlast.model.agent import AgentSpec
from outlast.testing import FakeClock, NamedModels, owner
from tests.database import Database
from tests.engine.server import Server, World
from tests.engine.world import Bench, spec


@pytest.fixture
async def world(database: Database) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:

        async def made(
            actor: Any, agent: AgentSpec | None = None, bench: Bench | None = None, **settings: Any
        ) -> Server:
            clock = FakeClock()
            core = await stack.enter_async_context(
                database.core(
                    models=NamedModels({"actor": actor}),
                    tools=bench or Bench(),
                    clock=clock,
                    drain_seconds=1,
                    **settings,
                )
            )
            caller = await owner(core)
            await core.services.agents.put(caller.workspace_id, [(agent or spec(), "1")])
            return Server(core, caller, actor, clock)

        yield made
