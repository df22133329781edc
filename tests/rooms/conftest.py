"""The house of a rooms test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest

from outlast.model.agent import AgentSpec
from outlast.model.clock import SystemClock
from outlast.model.workspace import Principal, Scope
from outlast.testing import NamedModels
from tests.database import Database
from tests.engine.world import Actor, Bench, by_turn, spec
from tests.rooms.house import House

Build = Callable[..., Awaitable[House]]


@pytest.fixture
async def build(database: Database) -> AsyncIterator[Build]:
    """Makes a house: build(actor, agent=…, bench=…, clock=…, settings…)."""
    async with AsyncExitStack() as stack:

        async def made(
            actor: Any = None,
            agent: AgentSpec | None = None,
            bench: Bench | None = None,
            scopes: frozenset[Scope] = frozenset(Scope),
            **more: Any,
        ) -> House:
            core = await stack.enter_async_context(
                database.core(
                    models=NamedModels({"actor": actor or Actor(by_turn(["Hel", "lo"]))}),
                    tools=bench or Bench(),
                    clock=more.pop("clock", None) or SystemClock(),
                    drain_seconds=1,
                    **more,
                )
            )
            keys = core.services.keys
            workspace = await keys.workspace("default")
            made_key = await keys.create(workspace.id, "owner", scopes)
            caller = Principal(made_key.key.id, workspace.id, scopes)
            await core.services.agents.put(workspace.id, [(agent or spec(), "1")])
            house = House(core, caller, made_key.secret)
            stack.push_async_callback(house.client.aclose)
            return house

        yield made


@pytest.fixture
async def house(build: Build) -> House:
    """A house whose agent says Hello."""
    return await build()
