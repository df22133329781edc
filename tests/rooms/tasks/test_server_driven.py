"""Tasks that this server runs: an agent on an input."""

import asyncio
from typing import Any

import pytest

from outlast.model.agent import Effect
from outlast.model.checkpoint import Checkpoint
from outlast.model.error import ModelRejected
from outlast.model.execution import Execution
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.api import Api, MakeApi
from tests.support.databases import Database
from tests.support.models import FakeModel, by_turn
from tests.support.tasks_room import TasksClient
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import until, until_found

pytestmark = pytest.mark.anyio
RUN = {"agent_id": "agent", "input": "Do it"}


async def desk_of(
    make_api: MakeApi, model: Any, tools: FakeTools | None = None, *names: str
) -> TasksClient:
    clock = FakeClock()
    agent = spec(*(tool(name) for name in names))
    return TasksClient(await make_api(model, agent, tools, clock=clock), clock)


async def rested(tasks_client: TasksClient, task_id: str) -> dict[str, Any]:
    await tasks_client.api.rested(task_id)
    return await tasks_client.task(task_id)


async def test_the_server_runs_it_and_every_step_is_a_checkpoint(make_api: MakeApi) -> None:
    model = FakeModel(by_turn(["Let me see. ", call(1, "look")], ["Done."]))
    tasks_client = await desk_of(make_api, model, FakeTools(look=lambda _: 1), "look")
    task_id = await tasks_client.create(state={"page": 0}, **RUN)
    done = await rested(tasks_client, task_id)
    assert done["status"] == "completed"
    assert [point["state"] for point in done["checkpoints"]] == [{"page": 0}] * 3
    for verb, body in (("complete", {}), ("fail", {"error": "x"})):
        assert await tasks_client.refused("POST", f"/{task_id}/{verb}", body) == (409, "conflict")


async def test_executions_of_other_rooms_are_tasks_too(make_api: MakeApi) -> None:
    tasks_client = await desk_of(make_api, FakeModel(by_turn(["Hello"])))
    started = await tasks_client.api.started()
    task = await rested(tasks_client, started)
    assert (task["id"], task["name"], task["status"]) == (started, "agent", "completed")
    assert (task["task_type"], task["config"], task["state"]) == ("agent", {}, {})
    assert len(task["checkpoints"]) == 1
    assert (await tasks_client.ask("DELETE", f"/{started}")).status_code == 204
    assert await tasks_client.refused("GET", f"/{started}") == (404, "execution_not_found")


async def test_its_client_may_save_checkpoints_pause_and_go_back(make_api: MakeApi) -> None:
    gate = asyncio.Event()
    model = FakeModel(by_turn([call(1, "look")], ["Half", gate, " done."]))
    tasks_client = await desk_of(make_api, model, FakeTools(look=lambda _: 1), "look")
    task_id = await tasks_client.create(state={"page": 0}, **RUN)
    await until(model.spoke.is_set)
    saved = await tasks_client.save(task_id, label="mine", state={"page": 1})
    assert saved["status"] == "running"
    await tasks_client.change(task_id, {"page": 2})
    paused = await tasks_client.post(task_id, "pause", now=True)
    assert (paused["status"], paused["state"]) == ("paused", {"page": 2})
    assert [point["label"] for point in paused["checkpoints"]] == [None, None, "mine", "paused"]
    assert model.open == 0
    gate.set()
    mine = paused["checkpoints"][2]["id"]
    await tasks_client.post(task_id, "resume", checkpoint_id=mine)
    done = await rested(tasks_client, task_id)
    assert (done["status"], done["state"]) == ("completed", {"page": 1})
    assert [point["superseded"] for point in done["checkpoints"]] == [False] * 3 + [True, False]


async def test_a_resume_answers_what_the_task_was_then_whatever_it_has_done_since(
    make_api: MakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    model = FakeModel(by_turn([call(1, "look")], ["Half", gate]))
    tasks_client = await desk_of(make_api, model, FakeTools(look=lambda _: 1), "look")
    task_id = await tasks_client.create(**RUN)
    await until(model.spoke.is_set)
    paused = await tasks_client.post(task_id, "pause", now=True)
    known = paused["checkpoints"]
    assert [point["superseded"] for point in known] == [False] * 2
    checkpoints = tasks_client.api.core.store.checkpoints
    shown = checkpoints.shown

    async def shown_late(execution: Execution) -> tuple[Checkpoint, ...]:
        found = await until_found(lambda: behind(3))
        assert found.id not in [point["id"] for point in known]
        return await shown(execution)

    async def behind(count: int) -> Checkpoint | None:
        found = await checkpoints.of(tasks_client.api.caller.workspace_id, task_id)
        return found[-1] if len(found) >= count else None

    monkeypatch.setattr(checkpoints, "shown", shown_late)
    resumed = await tasks_client.post(task_id, "resume", checkpoint_id=known[0]["id"])
    assert resumed["status"] == "running"
    assert resumed["checkpoints"] == [known[0], known[1] | {"superseded": True}]


async def test_a_deleted_task_stops_the_model_and_no_tool_starts(make_api: MakeApi) -> None:
    gate = asyncio.Event()
    model = FakeModel(by_turn(["Hm", gate, call(1, "look")], ["Done."]))
    tools = FakeTools(look=lambda _: 1)
    tasks_client = await desk_of(make_api, model, tools, "look")
    task_id = await tasks_client.create(**RUN)
    await until(model.spoke.is_set)
    response = await tasks_client.ask("DELETE", f"/{task_id}")
    assert response.status_code == 204
    assert model.open == 0
    gate.set()
    assert await tasks_client.refused("GET", f"/{task_id}") == (404, "execution_not_found")
    await until(lambda: tasks_client.api.core.engine.running == 0)
    assert not tools.calls


async def test_a_failed_run_is_tried_again_and_then_paused(make_api: MakeApi) -> None:
    model = FakeModel(lambda _: [ModelRejected("no")])
    tasks_client = await desk_of(make_api, model)
    retry = {"max_attempts": 2, "backoff_seconds": 20, "on_failure": "pause"}
    task_id = await tasks_client.create(config={"retry": retry}, **RUN)
    assert (await rested(tasks_client, task_id))["status"] == "failed"
    requests = len(model.requests)
    await tasks_client.later(19)
    assert (await tasks_client.task(task_id))["status"] == "failed"
    await tasks_client.later(1)
    assert (await rested(tasks_client, task_id))["status"] == "paused"
    assert len(model.requests) == 2 * requests


@pytest.mark.parametrize(("on_failure", "status"), [("fail", "failed"), ("pause", "paused")])
async def test_the_end_of_its_time_closes_the_model_request(
    make_api: MakeApi, on_failure: str, status: str
) -> None:
    gate = asyncio.Event()
    model = FakeModel(by_turn(["Hm", gate, " yes"]))
    tasks_client = await desk_of(make_api, model)
    config = {"max_duration_seconds": 5, "retry": {"on_failure": on_failure}}
    task_id = await tasks_client.create(config=config, **RUN)
    await until(model.spoke.is_set)
    tasks_client.clock.advance(6)
    ended = await rested(tasks_client, task_id)
    assert (ended["status"], ended["elapsed_seconds"]) == (status, 6)
    gate.set()
    await tasks_client.post(task_id, "resume")
    assert (await rested(tasks_client, task_id))["status"] == "completed"


async def test_elapsed_time_outlasts_a_crash_and_leaves_the_downtime_out(
    database: Database,
) -> None:
    clock, gate = FakeClock(), asyncio.Event()
    model = FakeModel(by_turn([call(1, "look")], ["Hm", gate, " yes"]))

    async def look() -> int:
        clock.advance(7)
        return 1

    models = NamedModels({"actor": model})
    tools = FakeTools(look=lambda _: look())
    async with database.core(models=models, tools=tools, clock=clock, drain_seconds=0) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(tool("look")), "1")])
        key = await core.services.keys.create(caller.workspace_id, "desk")
        tasks_client = TasksClient(Api(core, caller, key.secret), clock)
        task_id = await tasks_client.create(**RUN)
        await until(model.spoke.is_set)
        assert (await tasks_client.task(task_id))["elapsed_seconds"] == 7
        for _ in range(4):
            sleeping = asyncio.create_task(clock.sleeper())
            await asyncio.sleep(0)
            clock.advance(1)
            await sleeping
        await until_counted(database, 9_000)
        await tasks_client.api.client.aclose()
        # Leaving without grace abandons the segment where it stands, as a crash does.
    assert database.rows("SELECT status FROM executions") == [("running",)]
    clock.advance(1000)
    gate.set()
    async with database.core(models=models, tools=tools, clock=clock) as core:
        api = Api(core, caller, key.secret)
        done = await rested(TasksClient(api, clock), task_id)
        assert done["status"] == "completed"
        assert 9 <= done["elapsed_seconds"] <= 7 + 4 + 3
        await api.client.aclose()


async def until_counted(database: Database, millis: int) -> None:
    async with asyncio.timeout(10):
        while _counted(database) < millis:  # noqa: ASYNC110 - a row has no event
            await asyncio.sleep(0)


def _counted(database: Database) -> int:
    return int(database.rows("SELECT active_ms FROM executions")[0][0])


async def test_a_call_that_the_end_of_its_time_cut_off_needs_a_decision_where_it_is_paused(
    make_api: MakeApi,
) -> None:
    reached = asyncio.Event()

    async def pay(_: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    clock, tools = FakeClock(), FakeTools(pay=pay)
    model, agent = FakeModel(by_turn([call(1, "pay")])), spec(tool("pay", Effect.DESTRUCTIVE))
    tasks_client = TasksClient(await make_api(model, agent, tools, clock=clock), clock)
    config = {"max_duration_seconds": 5, "retry": {"on_failure": "pause"}}
    task_id = await tasks_client.create(config=config, **RUN)
    await until(reached.is_set)
    tasks_client.clock.advance(6)
    assert (await rested(tasks_client, task_id))["status"] == "paused"
    shown = (await tasks_client.api.get(f"/v1/executions/{task_id}")).json()["pendingApprovals"]
    assert [one["kind"] for one in shown] == ["unknown_outcome"]
    log = await tasks_client.api.core.services.executions.log(tasks_client.api.caller, task_id)
    assert [entry.event.kind for entry in log[-2:]] == ["approval.requested", "execution.paused"]
