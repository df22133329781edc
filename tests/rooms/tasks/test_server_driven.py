"""Tasks that this server runs: an agent on an input."""

import asyncio
from typing import Any

import pytest

from outlast.model.agent import Effect
from outlast.model.error import ModelRejected
from outlast.testing import FakeClock, NamedModels, owner
from tests.database import Database
from tests.engine.world import Actor, Bench, by_turn, call, spec, tool
from tests.rooms.conftest import Build
from tests.rooms.house import House, until
from tests.rooms.tasks.desk import Desk

pytestmark = pytest.mark.anyio
RUN = {"agent_id": "agent", "input": "Do it"}


async def desk_of(build: Build, actor: Any, bench: Bench | None = None, *names: str) -> Desk:
    clock = FakeClock()
    agent = spec(*(tool(name) for name in names))
    return Desk(await build(actor, agent, bench, clock=clock), clock)


async def rested(desk: Desk, task_id: str) -> dict[str, Any]:
    await desk.house.rested(task_id)
    return await desk.task(task_id)


async def test_the_server_runs_it_and_every_step_is_a_checkpoint(build: Build) -> None:
    actor = Actor(by_turn(["Let me see. ", call(1, "look")], ["Done."]))
    desk = await desk_of(build, actor, Bench(look=lambda _: 1), "look")
    task_id = await desk.create(state={"page": 0}, **RUN)
    done = await rested(desk, task_id)
    assert done["status"] == "completed"
    assert [point["state"] for point in done["checkpoints"]] == [{"page": 0}] * 3
    for verb, body in (("complete", {}), ("fail", {"error": "x"})):
        assert await desk.refused("POST", f"/{task_id}/{verb}", body) == (409, "conflict")


async def test_executions_of_other_rooms_are_tasks_too(build: Build) -> None:
    desk = await desk_of(build, Actor(by_turn(["Hello"])))
    started = await desk.house.started()
    task = await rested(desk, started)
    assert (task["id"], task["name"], task["status"]) == (started, "agent", "completed")
    assert (task["task_type"], task["config"], task["state"]) == ("agent", {}, {})
    assert len(task["checkpoints"]) == 1
    assert (await desk.ask("DELETE", f"/{started}")).status_code == 204
    assert await desk.refused("GET", f"/{started}") == (404, "execution_not_found")


async def test_its_client_may_save_checkpoints_pause_and_go_back(build: Build) -> None:
    gate = asyncio.Event()
    actor = Actor(by_turn([call(1, "look")], ["Half", gate, " done."]))
    desk = await desk_of(build, actor, Bench(look=lambda _: 1), "look")
    task_id = await desk.create(state={"page": 0}, **RUN)
    await until(actor.spoke.is_set)
    saved = await desk.save(task_id, label="mine", state={"page": 1})
    assert saved["status"] == "running"
    await desk.change(task_id, {"page": 2})
    paused = await desk.post(task_id, "pause", now=True)
    assert (paused["status"], paused["state"]) == ("paused", {"page": 2})
    assert [point["label"] for point in paused["checkpoints"]] == [None, None, "mine", "paused"]
    assert actor.open == 0
    gate.set()
    mine = paused["checkpoints"][2]["id"]
    await desk.post(task_id, "resume", checkpoint_id=mine)
    done = await rested(desk, task_id)
    assert (done["status"], done["state"]) == ("completed", {"page": 1})
    assert [point["superseded"] for point in done["checkpoints"]] == [False] * 3 + [True, False]


async def test_a_deleted_task_stops_the_model_and_no_tool_starts(build: Build) -> None:
    gate = asyncio.Event()
    actor = Actor(by_turn(["Hm", gate, call(1, "look")], ["Done."]))
    bench = Bench(look=lambda _: 1)
    desk = await desk_of(build, actor, bench, "look")
    task_id = await desk.create(**RUN)
    await until(actor.spoke.is_set)
    response = await desk.ask("DELETE", f"/{task_id}")
    assert response.status_code == 204
    assert actor.open == 0
    gate.set()
    assert await desk.refused("GET", f"/{task_id}") == (404, "execution_not_found")
    await until(lambda: desk.house.core.engine.running == 0)
    assert not bench.calls


async def test_a_failed_run_is_tried_again_and_then_paused(build: Build) -> None:
    actor = Actor(lambda _: [ModelRejected("no")])
    desk = await desk_of(build, actor)
    retry = {"max_attempts": 2, "backoff_seconds": 20, "on_failure": "pause"}
    task_id = await desk.create(config={"retry": retry}, **RUN)
    assert (await rested(desk, task_id))["status"] == "failed"
    asked = len(actor.asked)
    await desk.later(19)
    assert (await desk.task(task_id))["status"] == "failed"
    await desk.later(1)
    assert (await rested(desk, task_id))["status"] == "paused"
    assert len(actor.asked) == 2 * asked


@pytest.mark.parametrize(("on_failure", "status"), [("fail", "failed"), ("pause", "paused")])
async def test_the_end_of_its_time_closes_the_model_request(
    build: Build, on_failure: str, status: str
) -> None:
    gate = asyncio.Event()
    actor = Actor(by_turn(["Hm", gate, " yes"]))
    desk = await desk_of(build, actor)
    config = {"max_duration_seconds": 5, "retry": {"on_failure": on_failure}}
    task_id = await desk.create(config=config, **RUN)
    await until(actor.spoke.is_set)
    desk.clock.advance(6)
    ended = await rested(desk, task_id)
    assert (ended["status"], ended["elapsed_seconds"]) == (status, 6)
    gate.set()
    await desk.post(task_id, "resume")
    assert (await rested(desk, task_id))["status"] == "completed"


async def test_elapsed_time_outlasts_a_crash_and_leaves_the_downtime_out(
    database: Database,
) -> None:
    clock, gate = FakeClock(), asyncio.Event()
    actor = Actor(by_turn([call(1, "look")], ["Hm", gate, " yes"]))

    async def look() -> int:
        clock.advance(7)
        return 1

    models = NamedModels({"actor": actor})
    bench = Bench(look=lambda _: look())
    async with database.core(models=models, tools=bench, clock=clock, drain_seconds=0) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(tool("look")), "1")])
        key = await core.services.keys.create(caller.workspace_id, "desk")
        desk = Desk(House(core, caller, key.secret), clock)
        task_id = await desk.create(**RUN)
        await until(actor.spoke.is_set)
        assert (await desk.task(task_id))["elapsed_seconds"] == 7
        for _ in range(4):
            sleeping = asyncio.create_task(clock.sleeper())
            await asyncio.sleep(0)
            clock.advance(1)
            await sleeping
        await until_counted(database, 9_000)
        await desk.house.client.aclose()
        # Leaving without grace abandons the segment where it stands, as a crash does.
    assert database.rows("SELECT status FROM executions") == [("running",)]
    clock.advance(1000)
    gate.set()
    async with database.core(models=models, tools=bench, clock=clock) as core:
        house = House(core, caller, key.secret)
        done = await rested(Desk(house, clock), task_id)
        assert done["status"] == "completed"
        assert 9 <= done["elapsed_seconds"] <= 7 + 4 + 3
        await house.client.aclose()


async def until_counted(database: Database, millis: int) -> None:
    async with asyncio.timeout(10):
        while _counted(database) < millis:  # noqa: ASYNC110 - a row, told by nobody
            await asyncio.sleep(0)


def _counted(database: Database) -> int:
    return int(database.rows("SELECT active_ms FROM executions")[0][0])


async def test_a_call_that_the_end_of_its_time_cut_off_is_asked_about_where_it_is_paused(
    build: Build,
) -> None:
    reached = asyncio.Event()

    async def pay(_: Any) -> None:
        reached.set()
        await asyncio.Event().wait()

    clock, bench = FakeClock(), Bench(pay=pay)
    actor, agent = Actor(by_turn([call(1, "pay")])), spec(tool("pay", Effect.DESTRUCTIVE))
    desk = Desk(await build(actor, agent, bench, clock=clock), clock)
    config = {"max_duration_seconds": 5, "retry": {"on_failure": "pause"}}
    task_id = await desk.create(config=config, **RUN)
    await until(reached.is_set)
    desk.clock.advance(6)
    assert (await rested(desk, task_id))["status"] == "paused"
    shown = (await desk.house.get(f"/v1/executions/{task_id}")).json()["pendingApprovals"]
    assert [one["kind"] for one in shown] == ["unknown_outcome"]
    log = await desk.house.core.services.executions.log(desk.house.caller, task_id)
    assert [entry.event.kind for entry in log[-2:]] == ["approval.requested", "execution.paused"]
