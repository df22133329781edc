"""What cannot be read, newer or broken, fails its execution and holds up no other."""

import asyncio
from typing import Any

import pytest

from outlast.model.agent import Expiry, Limits
from outlast.model.execution import Execution, PauseRequest, Status
from outlast.model.unreadable import ExecutionUnreadable
from outlast.model.wait import Decision
from outlast.testing import FakeClock, NamedModels
from tests.engine.test_tries import ready, settled
from tests.support.databases import POSTGRESQL, SQLITE, Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio

NEWER_STEP = (
    'UPDATE steps SET data = \'{"parts": [{"video": 1}], "model": "m", "usage": {},'
    ' "finishReason": "tool_calls"}\' WHERE kind = \'model\''
)
BROKEN_STEP = "UPDATE steps SET kind = 'tool' WHERE kind = 'model'"
NEWER_BUDGET = "UPDATE executions SET budget = '{\"max_moons\": 1}' WHERE status = 'queued'"
NO_BUDGET = "UPDATE executions SET budget = '[1]' WHERE status = 'queued'"


@pytest.mark.parametrize("broken", [NEWER_STEP, BROKEN_STEP])
async def test_a_step_that_cannot_be_read_fails_its_execution_and_holds_up_no_turn(
    database: Database, broken: str
) -> None:
    models = NamedModels({"actor": FakeModel(by_turn([call(1, "pay")], ["Done"]))})
    async with database.core(models=models, tools=FakeTools(pay=lambda _: "paid")) as core:
        caller = await ready(core, spec(tool("pay", approval=True)))
        started = await core.services.executions.start(caller, "agent", start_request())
        first = started.execution
        async with asyncio.timeout(BOUND):
            await core.services.executions.rest(caller, first.id)
        database.rows(broken)
        await core.services.approvals.decide(
            caller, first.id, call(1, "pay").id, Decision(approved=True)
        )
        failed = await settled(core, caller, first.id)
        assert failed.status is Status.FAILED
        assert failed.error is not None
        assert failed.error.code == "internal_error"


@pytest.mark.parametrize("broken", [NEWER_BUDGET, NO_BUDGET])
async def test_a_row_that_cannot_be_read_fails_and_the_turn_behind_it_runs(
    database: Database, broken: str
) -> None:
    gate = asyncio.Event()
    models = NamedModels({"actor": FakeModel(lambda _: ["Hello", gate])})
    async with database.core(models=models, tools=FakeTools()) as core:
        caller = await ready(core)
        first = (await core.services.executions.start(caller, "agent", start_request())).execution
        more = {"conversation_id": first.conversation_id}
        second = (
            await core.services.executions.start(caller, "agent", start_request(**more))
        ).execution
        async with asyncio.timeout(BOUND):
            while core.engine.running == 0:
                await between_looks()
            while (
                await core.store.executions.get(caller.workspace_id, first.id)
            ).status is Status.QUEUED:
                await between_looks()
        database.rows(broken)
        third_input = start_request("third", **more)
        gate.set()
        assert (await settled(core, caller, first.id)).status is Status.COMPLETED
        [(status, error)] = database.rows(
            f"SELECT status, error FROM executions WHERE id = '{second.id}'"
        )
        assert status == "failed"
        assert "cannot be read" in str(error)
        database.rows(f"UPDATE executions SET budget = '{{}}' WHERE id = '{second.id}'")
        third = (await core.services.executions.start(caller, "agent", third_input)).execution
        assert (await settled(core, caller, third.id)).status is Status.COMPLETED


@pytest.mark.parametrize("broken", ["row", "step"])
async def test_a_turn_that_cannot_be_read_is_named_by_later_ones_and_can_be_deleted(
    database: Database, broken: str
) -> None:
    model = FakeModel(lambda request: [f"{len(request.messages)} messages"])
    async with database.core(models=NamedModels({"actor": model}), tools=FakeTools()) as core:
        caller, executions = await ready(core), core.services.executions

        async def turn(**more: Any) -> Execution:
            started = await executions.start(caller, "agent", start_request("Hi", **more))
            return await settled(core, caller, started.execution.id)

        first = await turn()
        more = {"conversation_id": first.conversation_id}
        second = await turn(**more)
        if broken == "row":
            database.rows(f"UPDATE executions SET budget = '[1]' WHERE id = '{second.id}'")
        else:
            database.rows(f"UPDATE steps SET data = '{{}}' WHERE execution_id = '{second.id}'")
    async with database.core(models=NamedModels({"actor": model}), tools=FakeTools()) as core:
        executions = core.services.executions
        third = await turn(**more)
        assert third.error is not None
        assert (third.status, third.error.code) == (Status.FAILED, "execution_unreadable")
        assert f"outlast executions delete {second.id}" in third.error.message
        with pytest.raises(ExecutionUnreadable, match=second.id):
            await core.services.conversations.get(caller, first.conversation_id)
        await executions.delete(caller, second.id)
        await executions.resume(caller, third.id)
        again = await settled(core, caller, third.id)
        assert (again.status, again.output) == (Status.COMPLETED, "3 messages")
        assert (await turn(**more)).output == "5 messages"
        shown = await core.services.conversations.get(caller, first.conversation_id)
        assert [one.execution.turn for one in shown.turns] == [1, 3, 4]


@pytest.mark.parametrize("broken", [NEWER_BUDGET, NO_BUDGET])
async def test_a_start_that_finds_a_row_it_cannot_read_fails_it_and_takes_up_the_others(
    database: Database, broken: str
) -> None:
    models = NamedModels({"actor": FakeModel(by_turn(["Hello"]))})
    async with database.core(models=models, tools=FakeTools(), start=False) as core:
        caller = await ready(core)
        odd = (await core.services.executions.start(caller, "agent", start_request())).execution
        database.rows(broken)
        good = (await core.services.executions.start(caller, "agent", start_request())).execution
    async with asyncio.timeout(BOUND), database.core(models=models, tools=FakeTools()) as core:
        assert (await settled(core, caller, good.id)).output == "Hello"
        while database.rows(f"SELECT status FROM executions WHERE id = '{odd.id}'") != [
            ("failed",)
        ]:
            await between_looks()


@pytest.mark.parametrize("broken", ['{"moons": 1}', "[1]", '{"name": "a", "limits": [5]}'])
async def test_an_agent_that_cannot_be_read_fails_its_execution(
    database: Database, broken: str
) -> None:
    models = NamedModels({"actor": FakeModel(by_turn(["Hello"]))})
    async with database.core(models=models, tools=FakeTools(), start=False) as core:
        caller = await ready(core)
        started = await core.services.executions.start(caller, "agent", start_request())
    database.rows(f"UPDATE agent_versions SET spec = '{broken}'")
    async with database.core(models=models, tools=FakeTools()) as core:
        failed = await settled(core, caller, started.execution.id)
        assert failed.status is Status.FAILED
        assert failed.error is not None
        assert failed.error.code in ("misconfigured", "internal_error")


NEWER_KIND = "UPDATE waits SET kind = 'moon' WHERE execution_id = '{id}'"
NO_ARGUMENTS = "UPDATE waits SET parameters = '[' WHERE execution_id = '{id}'"
NO_CONSTRAINT = "ALTER TABLE waits DROP CONSTRAINT IF EXISTS {name}"


def break_approval(database: Database, execution_id: str) -> None:
    """Let an approval be what this version cannot read."""
    if database.kind == SQLITE:
        database.rows(NO_ARGUMENTS.format(id=execution_id))
        return
    found = database.rows(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'waits'::regclass "
        "AND pg_get_constraintdef(oid) LIKE '%unknown_outcome%'"
    )
    for (name,) in found:
        database.rows(NO_CONSTRAINT.format(name=name))
    database.rows(NEWER_KIND.format(id=execution_id))


@pytest.mark.parametrize("broken", [(0,), (1,), (0, 2)])
async def test_a_due_approval_that_cannot_be_read_fails_its_execution_and_keeps_no_other(
    database: Database, broken: tuple[int, ...]
) -> None:
    clock = FakeClock()
    models = NamedModels({"actor": FakeModel(by_turn([call(1, "pay")], ["Done"]))})
    pay = tool("pay", approval=True, expiry=Expiry(5, approve=True))
    tools = FakeTools(pay=lambda _: "paid")
    async with database.core(models=models, tools=tools, clock=clock) as core:
        caller = await ready(core, spec(pay, limits=Limits(max_seconds=None)))
        runs = [
            (await core.services.executions.start(caller, "agent", start_request())).execution.id
            for _ in range(3)
        ]
        for run in runs:
            async with asyncio.timeout(BOUND):
                await core.services.executions.rest(caller, run)
        for place in broken:
            break_approval(database, runs[place])
        clock.advance(6)
        for place, run in enumerate(runs):
            ended = await settled(core, caller, run, clock)
            if place in broken:
                assert ended.status is Status.FAILED
                assert ended.error is not None
                assert "cannot be read" in ended.error.message
            else:
                assert ended.status is Status.COMPLETED
                assert ended.output == "Done"
        assert await core.store.waits.due(clock.now(), 9) == []


@pytest.mark.only(POSTGRESQL)
@pytest.mark.parametrize("broken", ['{"moons": 1}', "[1]", '"now"'])
async def test_a_request_to_pause_that_cannot_be_read_fails_its_execution_and_keeps_no_other(
    database: Database, broken: str
) -> None:
    gate = asyncio.Event()
    models = NamedModels({"actor": FakeModel(lambda _: ["Hello", gate])})
    async with database.core(models=models, tools=FakeTools()) as core:
        caller = await ready(core)
        odd, good = [
            (await core.services.executions.start(caller, "agent", start_request())).execution
            for _ in range(2)
        ]
        async with asyncio.timeout(BOUND):
            while core.engine.running < 2:
                await between_looks()
        database.rows(f"UPDATE executions SET pause_requested = '{broken}' WHERE id = '{odd.id}'")
        await core.store.executions.request_pause(
            caller.workspace_id, good.id, PauseRequest(now=True)
        )
        async with asyncio.timeout(BOUND):
            paused = await core.services.executions.rest(caller, good.id)
            assert paused.execution.status is Status.PAUSED
            while database.rows(f"SELECT status FROM executions WHERE id = '{odd.id}'") != [
                ("failed",)
            ]:
                await between_looks()
        gate.set()
    [(error,)] = database.rows(f"SELECT error::text FROM executions WHERE id = '{odd.id}'")
    assert "cannot be read" in error


async def test_a_due_approval_of_an_execution_that_cannot_be_read_fails_that_execution(
    database: Database,
) -> None:
    clock = FakeClock()
    models = NamedModels({"actor": FakeModel(by_turn([call(1, "pay")], ["Done"]))})
    pay = tool("pay", approval=True, expiry=Expiry(5, approve=True))
    tools = FakeTools(pay=lambda _: "paid")
    async with database.core(models=models, tools=tools, clock=clock) as core:
        caller = await ready(core, spec(pay, limits=Limits(max_seconds=None)))
        run = (await core.services.executions.start(caller, "agent", start_request())).execution.id
        async with asyncio.timeout(BOUND):
            await core.services.executions.rest(caller, run)
        database.rows(f"UPDATE executions SET budget = '[1]' WHERE id = '{run}'")
        clock.advance(6)
        async with asyncio.timeout(BOUND):
            while database.rows(f"SELECT status FROM executions WHERE id = '{run}'") != [
                ("failed",)
            ]:
                clock.advance(1)
                await between_looks()
        assert await core.store.waits.due(clock.now(), 9) == []
