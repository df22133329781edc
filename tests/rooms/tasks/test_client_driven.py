"""Tasks that only their client's calls move."""

from typing import Any

import pytest

from outlast.model.event import Event
from tests.database import Database
from tests.rooms.house import House
from tests.rooms.tasks.desk import Desk
from tests.rooms.test_fold import same_as_get

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


async def events(house: House, task_id: str) -> list[Event]:
    log = await house.core.services.executions.log(house.caller, task_id)
    return [entry.event for entry in log]


async def test_a_task_has_exactly_the_fields_of_the_contract_and_runs_at_once(desk: Desk) -> None:
    config = {"max_duration_seconds": 60, "theirs": [1]}
    response = await desk.ask(
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
    assert await desk.task(task["id"]) == task


async def test_no_worker_takes_a_task_and_every_room_shows_it(desk: Desk) -> None:
    task_id = await desk.create(description="All pages")
    house = desk.house
    assert await house.core.store.executions.unfinished("", 10) == []
    shown = (await house.get(f"/v1/executions/{task_id}")).json()
    assert shown["status"] == "running"
    agent = (await house.get(f"/v1/agents/{shown['agentId']}")).json()
    assert agent["name"] == "client"
    listed = (await house.get("/v1/executions", agentId=shown["agentId"])).json()["data"]
    assert [one["id"] for one in listed] == [task_id]
    (event,) = (await house.get("/v1/events")).json()["data"]
    assert (event["id"], event["status"]) == (task_id, "RUNNING")
    run = (await house.get(f"/run/api/executions/{task_id}")).json()
    assert run["status"] == "running"
    assert len((await house.get("/v1/agents")).json()["data"]) == 1
    assert (await house.execute({"input": "Hi"}, shown["agentId"])).status_code == 404
    conversation = (await house.get(f"/v1/conversations/{shown['conversationId']}")).json()
    assert conversation["turns"][0]["content"] == "All pages"


async def test_checkpoints_are_appended_and_the_same_again_is_no_other(desk: Desk) -> None:
    task_id = await desk.create(state={"page": 0})
    first = await desk.save(task_id, label="one", state={"page": 1})
    assert first["state"] == {"page": 1}
    (point,) = first["checkpoints"]
    assert set(point) == {"id", "label", "state", "timestamp", "superseded"}
    again = await desk.save(task_id, label="one", state={"page": 1})
    assert [p["id"] for p in again["checkpoints"]] == [point["id"]]
    assert len((await desk.save(task_id, label="two"))["checkpoints"]) == 2
    assert len((await desk.save(task_id, label="one", state={"page": 1}))["checkpoints"]) == 2
    assert len((await desk.save(task_id, label="one", state={"page": True}))["checkpoints"]) == 3
    last = await desk.save(task_id, label="one", state={"page": 1})
    assert len(last["checkpoints"]) == 4
    assert last["state"] == {"page": 1}


async def test_a_pause_saves_a_checkpoint_and_stops_the_time(desk: Desk) -> None:
    task_id = await desk.create(state={"page": 0})
    await desk.change(task_id, {"page": 5})
    await desk.later(10.6)
    paused = await desk.post(task_id, "pause", reason="lunch")
    assert (paused["status"], paused["elapsed_seconds"]) == ("paused", 10)
    assert states(paused) == [({"page": 5}, False)]
    await desk.later(3600)
    assert (await desk.post(task_id, "pause")) == paused
    resumed = await desk.post(task_id, "resume")
    assert (resumed["status"], resumed["elapsed_seconds"]) == ("running", 10)
    assert resumed["state"] == {"page": 5}
    await desk.later(4.5)
    assert (await desk.task(task_id))["elapsed_seconds"] == 15
    done = await desk.post(task_id, "complete", state={"page": 9}, result={"rows": 3})
    assert (done["status"], done["state"], done["elapsed_seconds"]) == (
        "completed",
        {"page": 9},
        15,
    )
    assert done["completed_at"] == done["updated_at"]
    shown = (await desk.house.get(f"/v1/executions/{task_id}")).json()
    assert shown["output"] == '{"rows":3}'
    assert [event.kind for event in await events(desk.house, task_id)] == [
        "execution.created",
        "execution.started",
        "execution.paused",
        "execution.resumed",
        "execution.started",
        "execution.completed",
    ]


async def test_a_resume_from_a_named_checkpoint_goes_back_and_later_ones_stay_listed(
    desk: Desk,
) -> None:
    task_id = await desk.create(state={"page": 0})
    empty = await desk.save(task_id, label="none", state={})
    saved = empty
    for page in (1, 2, 3):
        saved = await desk.save(task_id, label="page", state={"page": page})
    await desk.post(task_id, "pause")
    back = saved["checkpoints"][1]["id"]
    resumed = await desk.post(task_id, "resume", checkpoint_id=back)
    assert resumed["state"] == {"page": 1}
    assert [gone for _, gone in states(resumed)] == [False, False, True, True, True]
    saved = await desk.save(task_id, label="page", state={"page": 2})
    assert states(saved)[-1] == ({"page": 2}, False)
    await desk.post(task_id, "pause")
    gone = resumed["checkpoints"][2]["id"]
    path = f"/{task_id}/resume"
    assert await desk.refused("POST", path, {"checkpoint_id": gone}) == (409, "conflict")
    first = empty["checkpoints"][0]["id"]
    assert (await desk.post(task_id, "resume", checkpoint_id=first))["state"] == {}


async def test_only_what_is_paused_or_failed_is_resumed(desk: Desk) -> None:
    task_id = await desk.create()
    path = f"/{task_id}/resume"
    assert await desk.refused("POST", path) == (409, "conflict")
    assert await desk.refused("POST", path, {"checkpoint_id": "cp_x"}) == (
        404,
        "checkpoint_not_found",
    )
    await desk.post(task_id, "pause")
    for unknown in ("cp_01k6zj3t7hf2a9q1x5m8r4c0vb", "nonsense", task_id):
        assert await desk.refused("POST", path, {"checkpoint_id": unknown}) == (
            404,
            "checkpoint_not_found",
        )
        told = (await desk.ask("POST", path, {"checkpoint_id": unknown})).json()["error"]
        assert told["details"] == {"param": "checkpoint_id"}
    await desk.post(task_id, "resume")
    await desk.post(task_id, "complete")
    assert await desk.refused("POST", path) == (409, "conflict")
    for verb, body in (("pause", {}), ("complete", {}), ("fail", {"error": "x"})):
        assert await desk.refused("POST", f"/{task_id}/{verb}", body) == (409, "conflict")
    assert await desk.refused("PUT", f"/{task_id}/checkpoint", {}) == (409, "conflict")
    assert await desk.refused("PATCH", f"/{task_id}", {"state": {}}) == (409, "conflict")


async def test_what_is_cancelled_elsewhere_is_terminated_and_not_resumed(desk: Desk) -> None:
    task_id = await desk.create()
    cancelled = await desk.house.client.post(f"/v1/executions/{task_id}/cancel")
    assert cancelled.json()["status"] == "cancelled"
    task = await desk.task(task_id)
    assert task["status"] == "terminated"
    assert task["completed_at"]
    assert await desk.refused("POST", f"/{task_id}/resume") == (409, "conflict")


async def test_other_rooms_pause_resume_and_delete_a_task(desk: Desk) -> None:
    task_id = await desk.create(state={"page": 1})
    base = f"/v1/executions/{task_id}"
    client = desk.house.client
    paused = await client.post(f"{base}/pause")
    assert (paused.status_code, paused.json()["status"]) == (200, "paused")
    assert states(await desk.task(task_id)) == [({"page": 1}, False)]
    assert (await client.post(f"{base}/resume")).json()["status"] == "running"
    assert (await desk.task(task_id))["status"] == "running"
    assert (await client.delete(base)).status_code == 204
    assert await desk.refused("GET", f"/{task_id}") == (404, "execution_not_found")


async def test_a_paused_task_takes_a_checkpoint_and_no_other_change(desk: Desk) -> None:
    task_id = await desk.create()
    await desk.post(task_id, "pause")
    assert await desk.refused("PATCH", f"/{task_id}", {"state": {"a": 1}}) == (409, "conflict")
    await desk.save(task_id, label="fixed", state={"a": 2})
    assert (await desk.post(task_id, "resume"))["state"] == {"a": 2}


async def test_a_deleted_task_is_gone_with_all_of_it(desk: Desk, database: Database) -> None:
    task_id = await desk.create(state={"secret": "s3cret"})
    await desk.save(task_id, label="one")
    response = await desk.ask("DELETE", f"/{task_id}")
    assert (response.status_code, response.content) == (204, b"")
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("PUT", "/checkpoint"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/complete"),
    ):
        assert await desk.refused(method, f"/{task_id}{path}", {}) == (404, "execution_not_found")
    for table in ("tasks", "checkpoints", "events", "executions", "conversations"):
        assert database.rows(f"SELECT * FROM {table}") == [], table
    assert (await desk.house.get(f"/v1/executions/{task_id}")).status_code == 404


@pytest.mark.parametrize("body", [{"result": {"rows": 3}}, {}])
async def test_the_last_frame_of_a_completed_task_is_what_get_answers(
    desk: Desk, body: dict[str, Any]
) -> None:
    task_id = await desk.create()
    await desk.post(task_id, "complete", **body)
    await same_as_get(desk.house, task_id)
