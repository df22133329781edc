"""What a real provider may do wrong: a clear error and a terminal state each time."""

import asyncio
from pathlib import Path

import pytest

from outlast.agents.models.catalogue import ModelCatalogue
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import AgentSpec
from outlast.model.clock import SystemClock
from outlast.model.execution import Status
from outlast.testing import NamedModels, owner
from tests.support.clocks import ImpatientClock
from tests.support.databases import POSTGRESQL, SQLITE, Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.provider import FakeProvider, Reply
from tests.support.tools import FakeTools, spec
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
ADD_GUARDRAILS = {
    SQLITE: "UPDATE agent_versions SET spec = json_set(spec, '$.guardrails', 'on')",
    POSTGRESQL: """UPDATE agent_versions SET spec = spec::jsonb || '{"guardrails": "on"}'""",
}
KEY = "sk-provider-key-of-the-test"


@pytest.mark.parametrize(
    ("model", "code", "requests"),
    [
        ("status-401", "model_rejected", 1),
        ("status-404", "model_rejected", 1),
        ("status-429", "rate_limit_exceeded", 3),
        ("status-500", "model_unavailable", 3),
        ("garbage", "model_unavailable", 3),
        ("die-after-3", "model_unavailable", 3),
        ("too-long", "context_length_exceeded", 1),
    ],
)
async def test_a_provider_that_fails_fails_the_execution_in_clear_words(
    tmp_path: Path, database: Database, model: str, code: str, requests: int
) -> None:
    clock = ImpatientClock()
    async with FakeProvider() as provider:
        environment = {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": KEY}
        models = ModelCatalogue(clock, tmp_path, environment=environment)
        tools = ToolBox(clock)
        async with database.core(models=models, tools=tools, clock=clock) as core:
            caller = await owner(core)
            agent = AgentSpec("agent", f"openai-chat:{model}")
            await core.services.agents.put(caller.workspace_id, [(agent, "1")])
            async with asyncio.timeout(BOUND):
                _, view = await core.services.executions.run(caller, "agent", start_request())
        assert provider.request_count == requests
    assert view.execution.status is Status.FAILED
    assert view.execution.error is not None
    assert view.execution.error.code == code
    assert KEY not in view.execution.error.message


@pytest.mark.parametrize(
    ("reply", "code", "says"),
    [
        (
            Reply((b'{"error": {"code": "insufficient_quota"}}',), status="429 X"),
            "rate_limit_exceeded",
            "insufficient_quota",
        ),
        (
            Reply((b"{}",), status="429 X", headers="retry-after: 3600\r\n"),
            "rate_limit_exceeded",
            "in 3600 s, at 20",
        ),
        (
            Reply((b"{}",), status="503 X", headers="retry-after: 99999\r\n"),
            "model_unavailable",
            "in 99999 s, at 20",
        ),
    ],
)
async def test_what_waiting_does_not_mend_fails_at_once_and_says_why(
    tmp_path: Path, database: Database, reply: Reply, code: str, says: str
) -> None:
    async with FakeProvider() as provider:
        provider.replies["m"] = reply
        models = ModelCatalogue(
            SystemClock(), tmp_path, environment={"OPENAI_BASE_URL": provider.url}
        )
        async with database.core(models=models, tools=ToolBox(SystemClock())) as core:
            caller = await owner(core)
            agent = AgentSpec("agent", "openai-chat:m")
            await core.services.agents.put(caller.workspace_id, [(agent, "1")])
            async with asyncio.timeout(BOUND):
                _, view = await core.services.executions.run(caller, "agent", start_request())
        assert provider.request_count == 1
    assert view.execution.error is not None
    assert view.execution.error.code == code
    assert says in view.execution.error.message


async def test_two_failures_and_then_an_answer_is_an_answer(
    tmp_path: Path, database: Database
) -> None:
    clock = ImpatientClock()
    async with FakeProvider() as provider:
        environment = {"OPENAI_BASE_URL": provider.url, "OPENAI_API_KEY": KEY}
        models = ModelCatalogue(clock, tmp_path, environment=environment)
        tools = ToolBox(clock)
        async with database.core(models=models, tools=tools, clock=clock) as core:
            caller = await owner(core)
            agent = AgentSpec("agent", "openai-chat:flaky-2")
            await core.services.agents.put(caller.workspace_id, [(agent, "1")])
            async with asyncio.timeout(BOUND):
                _, view = await core.services.executions.run(caller, "agent", start_request())
    assert view.execution.status is Status.COMPLETED
    assert len((view.execution.output or "").split()) == 12


async def test_a_version_of_an_agent_from_the_future_fails_and_is_not_half_understood(
    tmp_path: Path,
    database: Database,
) -> None:
    models = NamedModels({"actor": FakeModel(by_turn(["Hello"]))})
    async with database.core(models=models, tools=FakeTools(), start=False) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        database.rows(ADD_GUARDRAILS[database.kind])
        await core.start()
        async with asyncio.timeout(BOUND):
            view = await core.services.executions.rest(caller, started.execution.id)
    assert view.execution.status is Status.FAILED
    assert view.execution.error is not None
    assert view.execution.error.code == "misconfigured"
    assert "newer Outlast" in view.execution.error.message
