"""What happens to a task without a request: checkpoints, the end of its time, next attempts."""

import asyncio
from typing import Any

import pytest

from outlast.engine.maintenance.due_tasks import DUE_TASKS
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.api import Api
from tests.support.databases import Database
from tests.support.models import FakeModel, by_turn
from tests.support.tasks_room import TasksClient
from tests.support.tools import FakeTools

pytestmark = pytest.mark.anyio


def config(**more: Any) -> dict[str, Any]:
    return {"config": more}


async def test_a_changed_state_is_saved_behind_the_interval_and_an_unchanged_one_is_not(
    tasks_client: TasksClient,
) -> None:
    task_id = await tasks_client.create(**config(checkpoint_interval_seconds=60))
    await tasks_client.later(120)
    assert (await tasks_client.task(task_id))["checkpoints"] == []
    await tasks_client.change(task_id, {"page": 1})
    await tasks_client.later(0)
    (point,) = (await tasks_client.task(task_id))["checkpoints"]
    assert (point["label"], point["state"]) == ("automatic", {"page": 1})
    await tasks_client.change(task_id, {"page": 1})
    await tasks_client.later(120)
    assert len((await tasks_client.task(task_id))["checkpoints"]) == 1
    await tasks_client.save(task_id, label="mine", state={"page": 2})
    await tasks_client.change(task_id, {"page": 3})
    await tasks_client.later(59)
    assert len((await tasks_client.task(task_id))["checkpoints"]) == 2
    await tasks_client.later(1)
    assert (await tasks_client.task(task_id))["checkpoints"][2]["state"] == {"page": 3}


async def test_the_keeper_looks_by_itself(tasks_client: TasksClient) -> None:
    task_id = await tasks_client.create(**config(max_duration_seconds=0.5))
    async with asyncio.timeout(10):
        with tasks_client.api.core.streams.watch(
            tasks_client.api.caller.workspace_id, task_id
        ) as watch:
            execution = await tasks_client.api.core.store.executions.get(
                tasks_client.api.caller.workspace_id, task_id
            )
            tasks_client.clock.advance(1)
            assert (await watch.rest(execution, 9)).status == "failed"


async def test_a_task_fails_when_its_active_time_is_over(tasks_client: TasksClient) -> None:
    task_id = await tasks_client.create(
        **config(max_duration_seconds=10, retry={"max_attempts": 9})
    )
    await tasks_client.later(6)
    await tasks_client.post(task_id, "pause")
    await tasks_client.later(100)
    await tasks_client.post(task_id, "resume")
    await tasks_client.later(3.9)
    assert (await tasks_client.task(task_id))["status"] == "running"
    await tasks_client.later(0.1)
    failed = await tasks_client.task(task_id)
    assert (failed["status"], failed["elapsed_seconds"]) == ("failed", 10)
    shown = (await tasks_client.api.get(f"/v1/executions/{task_id}")).json()
    assert shown["error"]["code"] == "budget_exceeded"
    await tasks_client.later(100)
    assert (await tasks_client.task(task_id))["status"] == "failed"
    assert (await tasks_client.post(task_id, "resume"))["status"] == "running"
    await tasks_client.later(9)
    assert (await tasks_client.task(task_id))["status"] == "running"
    await tasks_client.later(1)
    assert (await tasks_client.task(task_id))["status"] == "failed"


async def test_a_task_is_paused_when_its_time_is_over_where_it_asks_for_that(
    tasks_client: TasksClient,
) -> None:
    task_id = await tasks_client.create(
        **config(max_duration_seconds=10, retry={"on_failure": "pause"})
    )
    await tasks_client.change(task_id, {"page": 7})
    await tasks_client.later(11)
    paused = await tasks_client.task(task_id)
    assert (paused["status"], paused["completed_at"]) == ("paused", None)
    assert paused["checkpoints"][0]["state"] == {"page": 7}
    assert (await tasks_client.post(task_id, "resume"))["state"] == {"page": 7}


async def test_a_failed_attempt_goes_on_from_the_last_checkpoint_behind_the_backoff(
    tasks_client: TasksClient,
) -> None:
    task_id = await tasks_client.create(
        state={"page": 0}, **config(retry={"max_attempts": 3, "backoff_seconds": 30})
    )
    await tasks_client.save(task_id, label="good", state={"page": 1})
    await tasks_client.change(task_id, {"page": 2})
    failed = await tasks_client.post(task_id, "fail", error="lost", state={"page": -1})
    assert (failed["status"], failed["state"]) == ("failed", {"page": -1})
    await tasks_client.later(29)
    assert (await tasks_client.task(task_id))["status"] == "failed"
    await tasks_client.later(1)
    again = await tasks_client.task(task_id)
    assert (again["status"], again["state"], again["completed_at"]) == (
        "running",
        {"page": 1},
        None,
    )
    assert again["elapsed_seconds"] == 0
    for _ in range(2):
        await tasks_client.post(task_id, "fail", error={"message": "lost again"})
        await tasks_client.later(30)
    assert (await tasks_client.task(task_id))["status"] == "failed"
    shown = (await tasks_client.api.get(f"/v1/executions/{task_id}")).json()
    assert shown["error"]["message"] == "lost again"
    assert (await tasks_client.post(task_id, "resume"))["status"] == "running"


async def test_without_a_backoff_the_next_attempt_begins_before_the_answer(
    tasks_client: TasksClient,
) -> None:
    task_id = await tasks_client.create(
        state={"page": 0}, **config(retry={"max_attempts": 2, "on_failure": "pause"})
    )
    await tasks_client.change(task_id, {"page": 5})
    again = await tasks_client.post(task_id, "fail", error="lost")
    assert (again["status"], again["state"]) == ("running", {"page": 0})
    paused = await tasks_client.post(task_id, "fail", error="lost")
    assert (paused["status"], paused["completed_at"]) == ("paused", None)


async def test_what_was_resumed_or_deleted_in_the_backoff_is_left_alone(
    tasks_client: TasksClient,
) -> None:
    retry = config(retry={"max_attempts": 2, "backoff_seconds": 30})
    kept, gone = await tasks_client.create(**retry), await tasks_client.create(**retry)
    for task_id in (kept, gone):
        await tasks_client.post(task_id, "fail", error="lost")
    await tasks_client.post(kept, "resume")
    await tasks_client.change(kept, {"page": 3})
    assert (await tasks_client.ask("DELETE", f"/{gone}")).status_code == 204
    await tasks_client.later(60)
    task = await tasks_client.task(kept)
    assert (task["status"], task["state"]) == ("running", {"page": 3})
    assert await tasks_client.refused("GET", f"/{gone}") == (404, "execution_not_found")


async def test_what_is_due_is_done_once_however_many_look(tasks_client: TasksClient) -> None:
    every = config(checkpoint_interval_seconds=1)
    tasks = [await tasks_client.create(**every) for _ in range(5)]
    for task_id in tasks:
        await tasks_client.change(task_id, {"page": 1})
    tasks_client.clock.advance(5)
    keepers = [tasks_client.api.core.maintenance.run(DUE_TASKS) for _ in range(4)]
    await asyncio.gather(*keepers)
    for task_id in tasks:
        assert len((await tasks_client.task(task_id))["checkpoints"]) == 1


async def test_time_goes_on_while_the_server_is_away_and_what_was_due_is_done(
    database: Database,
) -> None:
    clock = FakeClock()
    model = FakeModel(by_turn(["Hello"]))
    tasks: list[str] = []
    for life in range(2):
        models = NamedModels({"actor": model})
        async with database.core(models=models, tools=FakeTools(), clock=clock) as core:
            caller = await owner(core)
            key = await core.services.keys.create(caller.workspace_id, "desk")
            tasks_client = TasksClient(Api(core, caller, key.secret), clock)
            if life == 0:
                tasks.append(await tasks_client.create())
                tasks.append(await tasks_client.create(**config(max_duration_seconds=5)))
                tasks.append(await tasks_client.create(**config(checkpoint_interval_seconds=5)))
                await tasks_client.change(tasks[2], {"page": 1})
            else:
                await core.maintenance.run(DUE_TASKS)
                found = [await tasks_client.task(task_id) for task_id in tasks]
                assert [t["status"] for t in found] == ["running", "failed", "running"]
                assert [t["elapsed_seconds"] for t in found] == [100, 100, 100]
                assert found[2]["checkpoints"][0]["state"] == {"page": 1}
            await tasks_client.api.client.aclose()
        clock.advance(100)
