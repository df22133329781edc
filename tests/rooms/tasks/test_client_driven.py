"""Tasks that only their client's calls move."""

from typing import Any

import pytest

from outlast.model.event import Event
from outlast.testing import FakeClock
from tests.rooms.test_fold import same_as_get
from tests.support.api import Api, MakeApi
from tests.support.databases import Database
from tests.support.tasks_room import TasksClient

pytestmark = pytest.mark.anyio
FIELDS = [
    "id",
    "name",
    "description",
    "agent_id",
    "task_type",
    "status",
    "state",
    "checkpoints",
    "config",
    "elapsed_seconds",
    "started_at",
    "completed_at",
    "updated_at",
]


def states(task: dict[str, Any]) -> list[tuple[Any, bool]]:
    return [(point["state"], point["superseded"]) for point in task["checkpoints"]]


async def events(api: Api, task_id: str) -> list[Event]:
    log = await api.core.services.executions.log(api.caller, task_id)
    return [entry.event for entry in log]


async def test_a_task_has_exactly_the_fields_of_the_contract_and_runs_at_once(
    tasks_client: TasksClient,
) -> None:
    config = {"max_duration_seconds": 60, "theirs": [1]}
    response = await tasks_client.ask(
        "POST",
        "",
        {
            "name": "Import",
            "description": "All pages",
            "task_type": "data",
            "agent_id": "agent",
            "state": {"page": 0},
            "config": config,
        },
    )
    assert response.status_code == 201
    task = response.json()["data"]
    assert list(response.json()) == ["data"]
    assert list(task) == FIELDS
    assert response.headers["location"] == f"/v1/execution/{task['id']}"
    assert task["id"].startswith("exec_")
    assert task["agent_id"].startswith("agt_")
    assert (task["status"], task["state"], task["config"]) == ("running", {"page": 0}, config)
    assert (task["checkpoints"], task["completed_at"], task["elapsed_seconds"]) == ([], None, 0)
    assert await tasks_client.task(task["id"]) == task


async def test_no_worker_takes_a_task_and_every_room_shows_it(tasks_client: TasksClient) -> None:
    task_id = await tasks_client.create(description="All pages")
    api = tasks_client.api
    assert await api.core.store.executions.unfinished("", 10) == []
    shown = (await api.get(f"/v1/executions/{task_id}")).json()
    assert shown["status"] == "running"
    agent = (await api.get(f"/v1/agents/{shown['agentId']}")).json()
    assert agent["name"] == "client"
    listed = (await api.get("/v1/executions", agentId=shown["agentId"])).json()["data"]
    assert [one["id"] for one in listed] == [task_id]
    (event,) = (await api.get("/v1/events")).json()["data"]
    assert (event["id"], event["status"]) == (task_id, "RUNNING")
    run = (await api.get(f"/run/api/executions/{task_id}")).json()
    assert run["status"] == "running"
    assert len((await api.get("/v1/agents")).json()["data"]) == 1
    assert (await api.execute({"input": "Hi"}, shown["agentId"])).status_code == 404
    conversation = (await api.get(f"/v1/conversations/{shown['conversationId']}")).json()
    assert conversation["turns"][0]["content"] == "All pages"


async def test_checkpoints_are_appended_and_the_same_again_is_no_other(
    tasks_client: TasksClient,
) -> None:
    task_id = await tasks_client.create(state={"page": 0})
    first = await tasks_client.save(task_id, label="one", state={"page": 1})
    assert first["state"] == {"page": 1}
    (point,) = first["checkpoints"]
    assert set(point) == {"id", "label", "state", "timestamp", "superseded"}
    again = await tasks_client.save(task_id, label="one", state={"page": 1})
    assert [p["id"] for p in again["checkpoints"]] == [point["id"]]
    assert len((await tasks_client.save(task_id, label="two"))["checkpoints"]) == 2
    assert (
        len((await tasks_client.save(task_id, label="one", state={"page": 1}))["checkpoints"]) == 2
    )
    assert (
        len((await tasks_client.save(task_id, label="one", state={"page": True}))["checkpoints"])
        == 3
    )
    last = await tasks_client.save(task_id, label="one", state={"page": 1})
    assert len(last["checkpoints"]) == 4
    assert last["state"] == {"page": 1}


async def test_a_pause_saves_a_checkpoint_and_stops_the_time(tasks_client: TasksClient) -> None:
    task_id = await tasks_client.create(state={"page": 0})
    await tasks_client.change(task_id, {"page": 5})
    await tasks_client.later(10.6)
    paused = await tasks_client.post(task_id, "pause", reason="lunch")
    assert (paused["status"], paused["elapsed_seconds"]) == ("paused", 10)
    assert states(paused) == [({"page": 5}, False)]
    await tasks_client.later(3600)
    assert (await tasks_client.post(task_id, "pause")) == paused
    resumed = await tasks_client.post(task_id, "resume")
    assert (resumed["status"], resumed["elapsed_seconds"]) == ("running", 10)
    assert resumed["state"] == {"page": 5}
    await tasks_client.later(4.5)
    assert (await tasks_client.task(task_id))["elapsed_seconds"] == 15
    done = await tasks_client.post(task_id, "complete", state={"page": 9}, result={"rows": 3})
    assert (done["status"], done["state"], done["elapsed_seconds"]) == (
        "completed",
        {"page": 9},
        15,
    )
    assert done["completed_at"] == done["updated_at"]
    shown = (await tasks_client.api.get(f"/v1/executions/{task_id}")).json()
    assert shown["output"] == '{"rows":3}'
    assert [event.kind for event in await events(tasks_client.api, task_id)] == [
        "execution.created",
        "execution.started",
        "execution.paused",
        "execution.resumed",
        "execution.started",
        "execution.completed",
    ]


async def test_a_resume_from_a_named_checkpoint_goes_back_and_later_ones_stay_listed(
    tasks_client: TasksClient,
) -> None:
    task_id = await tasks_client.create(state={"page": 0})
    empty = await tasks_client.save(task_id, label="none", state={})
    saved = empty
    for page in (1, 2, 3):
        saved = await tasks_client.save(task_id, label="page", state={"page": page})
    await tasks_client.post(task_id, "pause")
    back = saved["checkpoints"][1]["id"]
    resumed = await tasks_client.post(task_id, "resume", checkpoint_id=back)
    assert resumed["state"] == {"page": 1}
    assert [gone for _, gone in states(resumed)] == [False, False, True, True, True]
    saved = await tasks_client.save(task_id, label="page", state={"page": 2})
    assert states(saved)[-1] == ({"page": 2}, False)
    await tasks_client.post(task_id, "pause")
    gone = resumed["checkpoints"][2]["id"]
    path = f"/{task_id}/resume"
    assert await tasks_client.refused("POST", path, {"checkpoint_id": gone}) == (409, "conflict")
    first = empty["checkpoints"][0]["id"]
    assert (await tasks_client.post(task_id, "resume", checkpoint_id=first))["state"] == {}


async def test_only_what_is_paused_or_failed_is_resumed(tasks_client: TasksClient) -> None:
    task_id = await tasks_client.create()
    path = f"/{task_id}/resume"
    assert await tasks_client.refused("POST", path) == (409, "conflict")
    assert await tasks_client.refused("POST", path, {"checkpoint_id": "cp_x"}) == (
        404,
        "checkpoint_not_found",
    )
    await tasks_client.post(task_id, "pause")
    for unknown in ("cp_01k6zj3t7hf2a9q1x5m8r4c0vb", "nonsense", task_id):
        assert await tasks_client.refused("POST", path, {"checkpoint_id": unknown}) == (
            404,
            "checkpoint_not_found",
        )
        error = (await tasks_client.ask("POST", path, {"checkpoint_id": unknown})).json()["error"]
        assert error["details"] == {"param": "checkpoint_id"}
    await tasks_client.post(task_id, "resume")
    await tasks_client.post(task_id, "complete")
    assert await tasks_client.refused("POST", path) == (409, "conflict")
    for verb, body in (("pause", {}), ("complete", {}), ("fail", {"error": "x"})):
        assert await tasks_client.refused("POST", f"/{task_id}/{verb}", body) == (409, "conflict")
    assert await tasks_client.refused("PUT", f"/{task_id}/checkpoint", {}) == (409, "conflict")
    assert await tasks_client.refused("PATCH", f"/{task_id}", {"state": {}}) == (409, "conflict")


async def test_what_is_cancelled_elsewhere_is_terminated_and_not_resumed(
    tasks_client: TasksClient,
) -> None:
    task_id = await tasks_client.create()
    cancelled = await tasks_client.api.client.post(f"/v1/executions/{task_id}/cancel")
    assert cancelled.json()["status"] == "cancelled"
    task = await tasks_client.task(task_id)
    assert task["status"] == "terminated"
    assert task["completed_at"]
    assert await tasks_client.refused("POST", f"/{task_id}/resume") == (409, "conflict")


async def test_other_rooms_pause_resume_and_delete_a_task(tasks_client: TasksClient) -> None:
    task_id = await tasks_client.create(state={"page": 1})
    base = f"/v1/executions/{task_id}"
    client = tasks_client.api.client
    paused = await client.post(f"{base}/pause")
    assert (paused.status_code, paused.json()["status"]) == (200, "paused")
    assert states(await tasks_client.task(task_id)) == [({"page": 1}, False)]
    assert (await client.post(f"{base}/resume")).json()["status"] == "running"
    assert (await tasks_client.task(task_id))["status"] == "running"
    assert (await client.delete(base)).status_code == 204
    assert await tasks_client.refused("GET", f"/{task_id}") == (404, "execution_not_found")


async def test_a_paused_task_takes_a_checkpoint_and_no_other_change(
    tasks_client: TasksClient,
) -> None:
    task_id = await tasks_client.create()
    await tasks_client.post(task_id, "pause")
    assert await tasks_client.refused("PATCH", f"/{task_id}", {"state": {"a": 1}}) == (
        409,
        "conflict",
    )
    await tasks_client.save(task_id, label="fixed", state={"a": 2})
    assert (await tasks_client.post(task_id, "resume"))["state"] == {"a": 2}


async def test_a_deleted_task_is_gone_with_all_of_it(make_api: MakeApi, database: Database) -> None:
    clock = FakeClock()
    tasks_client = TasksClient(await make_api(clock=clock), clock)
    task_id = await tasks_client.create(state={"secret": "s3cret"})
    await tasks_client.save(task_id, label="one")
    response = await tasks_client.ask("DELETE", f"/{task_id}")
    assert (response.status_code, response.content) == (204, b"")
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("PUT", "/checkpoint"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/complete"),
    ):
        assert await tasks_client.refused(method, f"/{task_id}{path}", {}) == (
            404,
            "execution_not_found",
        )
    for table in ("tasks", "checkpoints", "events", "executions", "conversations"):
        assert database.rows(f"SELECT * FROM {table}") == [], table
    assert (await tasks_client.api.get(f"/v1/executions/{task_id}")).status_code == 404


@pytest.mark.parametrize("body", [{"result": {"rows": 3}}, {}])
async def test_the_last_frame_of_a_completed_task_is_what_get_answers(
    tasks_client: TasksClient, body: dict[str, Any]
) -> None:
    task_id = await tasks_client.create()
    await tasks_client.post(task_id, "complete", **body)
    await same_as_get(tasks_client.api, task_id)
