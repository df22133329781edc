"""The engine in this process, on each kind of database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from outlast.engine.maintenance.due_schedules import FIRE_SCHEDULES
from outlast.model.agent import AgentSpec, Limits
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import EngineHarness, MakeEngine
from tests.support.models import FakeModel
from tests.support.schedules import ScheduleHouse, at
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


@pytest.fixture
async def house(make_engine: MakeEngine) -> AsyncIterator[ScheduleHouse]:
    """Its executions run until `end`."""
    gate = asyncio.Event()

    def play(request: Any) -> list[Any]:
        return ["Good ", gate, "morning"]

    engine = await make_engine(FakeModel(play), spec(limits=Limits(max_seconds=None)))
    made = ScheduleHouse(engine, gate)
    await made.core.maintenance.hold(FIRE_SCHEDULES)
    engine.clock.advance((at("2026-03-04T08:00Z") - engine.clock.now()) / 1000)
    yield made
    gate.set()
