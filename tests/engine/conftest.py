"""The engine in this process, on each kind of database."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from outlast.engine.maintenance.due_schedules import FIRE_SCHEDULES
from outlast.engine.maintenance.pending_vectors import EMBED
from outlast.model.agent import AgentSpec, Limits
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.api import SharedServer, shared_server_on
from tests.support.databases import Database
from tests.support.embeddings import EmbeddingProvider
from tests.support.engine import EngineHarness, MakeEngine
from tests.support.library import Library
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


@pytest.fixture(scope="module")
async def shared_server(module_database: Database) -> AsyncIterator[SharedServer]:
    """One for all tests of a module that need no other settings; time moves by hand."""
    async with shared_server_on(module_database, FakeClock()) as server:
        yield server


@pytest.fixture
async def share_engine(shared_server: SharedServer) -> AsyncIterator[MakeEngine]:
    """Make a workspace of the module's server: share_engine(model, agent, tools).

    A test that looks at more of a server than its workspace makes its own, by `make_engine`.
    """
    async with AsyncExitStack() as stack:

        async def made(model: Any, *agent_and_tools: Any) -> EngineHarness:
            of = shared_server.api(model, *agent_and_tools)
            api = await stack.enter_async_context(of)
            clock: Any = api.core.clock
            return EngineHarness(api.core, api.caller, model, clock)

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


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[EmbeddingProvider]:
    async with EmbeddingProvider() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        yield provider


@pytest.fixture
async def opened(database: Database, provider: EmbeddingProvider) -> AsyncIterator[Any]:
    """opened(replies…) is a server on the database, with a store; `after` an earlier server."""
    async with AsyncExitStack() as stack:

        async def made(
            *replies: Any, after: Library | None = None, real_time: bool = False
        ) -> Library:
            clock = after.clock if after else None if real_time else FakeClock()
            left = list(replies)
            models = NamedModels({"actor": FakeModel(lambda _: left.pop(0))})
            core = await stack.enter_async_context(database.core(models=models, clock=clock))
            await core.maintenance.hold(*([] if real_time else [EMBED]))
            if after is not None:
                return Library(core, after.caller, after.store, clock)
            caller = await owner(core)
            await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
            store, _ = await core.services.memory.create(
                caller, "notes", embedding="openai-embeddings:small"
            )
            return Library(core, caller, store, clock)

        yield made


@pytest.fixture
async def library(opened: Any) -> Library:
    made: Library = await opened()
    return made
