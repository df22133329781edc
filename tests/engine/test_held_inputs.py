"""Input that calls request while their servers hold them open, once the calls are cut off."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from outlast import agent_tool
from outlast.agents.port import ToolContext, WaitFor
from outlast.model.agent import Effect, ToolSpec
from outlast.model.client_call import ClientCallAnswered, ClientCallRequested
from outlast.model.event import ApprovalResolved, ExecutionPaused
from outlast.model.input_request import InputRequest
from outlast.model.wait import WaitKind
from outlast.services.tasks import NewTask
from tests.support.databases import SQLITE, Database
from tests.support.engine import MakeEngine
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.trees import MakeTeam, agent, make_team
from tests.support.waiting import until_found

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]


class Holding(FakeTools):
    """One tool, whose server holds its call open until it has input."""

    async def call(self, spec: ToolSpec, arguments: dict[str, Any], context: ToolContext) -> Any:
        assert context.ask is not None
        question = {"message": "Which?", "mode": "form", "schema": {}}
        return await context.ask(InputRequest({"q": question}, live=True))


@pytest.fixture
async def team(database: Database) -> AsyncIterator[MakeTeam]:
    async with AsyncExitStack() as stack:
        yield make_team(database, stack)


@pytest.mark.parametrize("effect", [Effect.READ_ONLY, Effect.DESTRUCTIVE])
async def test_the_root_shows_that_it_is_awaited_no_more(team: MakeTeam, effect: Effect) -> None:
    world = await team(
        {
            "lead": by_turn([call(1, "worker", input="x")], ["Lead."]),
            "worker": by_turn([call(2, "sign")], ["Worker."]),
        },
        agent("lead", agent_tool("worker")),
        agent("worker", tool("sign", effect)),
        tools=Holding(worker=WaitFor(WaitKind.CHILD)),
    )
    root = await world.start()

    async def requested() -> bool:
        log = [entry.event for entry in await world.log(root)]
        return any(isinstance(event, ClientCallRequested) for event in log)

    await until_found(requested)
    (child,) = await world.below(root, 1)
    await world.executions.cancel(world.caller, child.id)
    assert (await world.until(root)).output == "Lead."
    log = [entry.event for entry in await world.log(root)]
    (gone,) = [event for event in log if isinstance(event, ClientCallAnswered)]
    assert (gone.tool_call_id, gone.execution_id) == (call(2, "").id, child.id)
    assert not [event for event in log if isinstance(event, ApprovalResolved)]


@pytest.mark.parametrize("effect", [Effect.READ_ONLY, Effect.DESTRUCTIVE])
async def test_a_task_that_is_paused_when_its_time_is_over_awaits_it_no_more(
    make_engine: MakeEngine, effect: Effect
) -> None:
    model = FakeModel(by_turn([call(1, "sign")], ["Done."]))
    server = await make_engine(model, spec(tool("sign", effect)), Holding())
    retry = {"max_attempts": 1, "backoff_seconds": 1, "on_failure": "pause"}
    config = {"max_duration_seconds": 5, "retry": retry}
    request = NewTask("Sign", agent="agent", input="x", config=config)
    task = await server.core.services.tasks.create(server.caller, request)
    run = task.view.execution.id

    async def waits(kind: type) -> bool:
        log = await server.core.services.executions.log(server.caller, run)
        return any(isinstance(entry.event, kind) for entry in log)

    await until_found(lambda: waits(ClientCallRequested))

    async def paused() -> bool:
        server.clock.advance(1)
        return await waits(ExecutionPaused)

    await until_found(paused)
    view = await server.executions.get(server.caller, run)
    assert not [wait for wait in view.client_calls if wait.is_open]
    assert len([wait for wait in view.approvals if wait.is_open]) == (effect is Effect.DESTRUCTIVE)
    assert await waits(ClientCallAnswered)
