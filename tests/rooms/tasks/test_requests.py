"""Requests of the tasks room: keys, bad bodies, other people's tasks, repeats."""

import pytest

from outlast.model.ids import to_uuid4
from outlast.model.workspace import Scope
from tests.support.tasks_room import PATH, TasksClient

pytestmark = pytest.mark.anyio


def deep(levels: int) -> bytes:
    return b'{"name":"x","state":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"


@pytest.mark.parametrize(
    ("content", "status", "code", "param"),
    [
        (b"{", 400, "invalid_request", "body"),
        (b"[]", 400, "invalid_request", "body"),
        (deep(64), 400, "invalid_request", "body"),
        (b"{}", 400, "missing_required_field", "name"),
        (b'{"name":7}', 422, "invalid_field_value", "name"),
        (b'{"name":""}', 422, "invalid_field_value", "name"),
        (b'{"name":"' + b"x" * 257 + b'"}', 422, "invalid_field_value", "name"),
        (b'{"name":"a\\u0000"}', 422, "invalid_field_value", "name"),
        (b'{"name":"x","state":{"a\\u0000":1}}', 422, "invalid_field_value", "state.a\\u0000"),
        (b'{"name":"x","state":[]}', 422, "invalid_field_value", "state"),
        (b'{"name":"x","config":7}', 422, "invalid_field_value", "config"),
        (
            b'{"name":"x","config":{"max_duration_seconds":"1"}}',
            422,
            "invalid_field_value",
            "config.max_duration_seconds",
        ),
        (
            b'{"name":"x","config":{"checkpoint_interval_seconds":0}}',
            422,
            "invalid_field_value",
            "config.checkpoint_interval_seconds",
        ),
        (
            b'{"name":"x","config":{"checkpoint_interval_seconds":1e300}}',
            422,
            "invalid_field_value",
            "config.checkpoint_interval_seconds",
        ),
        (
            b'{"name":"x","config":{"retry":{"max_attempts":true}}}',
            422,
            "invalid_field_value",
            "config.retry.max_attempts",
        ),
        (
            b'{"name":"x","config":{"retry":{"on_failure":"panic"}}}',
            422,
            "invalid_field_value",
            "config.retry.on_failure",
        ),
        (b'{"name":"x","agent_id":"unknown"}', 404, "agent_not_found", None),
        (b'{"name":"x","agent_id":"unknown","input":"Hi"}', 404, "agent_not_found", None),
    ],
    ids=lambda value: value[:50].decode() if isinstance(value, bytes) else None,
)
async def test_a_bad_body_is_reported_by_field_and_makes_nothing(
    tasks_client: TasksClient, content: bytes, status: int, code: str, param: str | None
) -> None:
    response = await tasks_client.api.client.post(PATH, content=content)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert (error["code"], error["status"]) == (code, status)
    assert error["details"] == ({} if param is None else {"param": param})
    assert (await tasks_client.api.get("/v1/executions")).json()["data"] == []


async def test_bodies_of_the_other_routes_are_checked_too(tasks_client: TasksClient) -> None:
    task_id = await tasks_client.create()
    for method, path, body, status in (
        ("PATCH", "", {}, 400),
        ("PATCH", "", {"state": None}, 422),
        ("PUT", "/checkpoint", {"state": 7}, 422),
        ("PUT", "/checkpoint", {"label": "x" * 257}, 422),
        ("POST", "/pause", {"reason": 7}, 422),
        ("POST", "/pause", {"now": "yes"}, 422),
        ("POST", "/resume", {"checkpoint_id": 7}, 422),
        ("POST", "/complete", {"state": []}, 422),
        ("POST", "/fail", {}, 400),
        ("POST", "/fail", {"error": {}}, 422),
    ):
        found = await tasks_client.refused(method, f"/{task_id}{path}", body)
        assert found[0] == status, (method, path, body, found)
    assert (await tasks_client.task(task_id))["status"] == "running"


async def test_64_levels_and_any_numbers_come_back_as_they_were(tasks_client: TasksClient) -> None:
    assert (await tasks_client.api.client.post(PATH, content=deep(63))).status_code == 201
    state = {"big": 2**64 - 1, "small": -1.5e-7, "text": "é\U0001f600", "list": [None, True]}
    task_id = await tasks_client.create(state=state)
    assert (await tasks_client.task(task_id))["state"] == state


async def test_what_is_huge_is_refused(tasks_client: TasksClient) -> None:
    response = await tasks_client.api.client.post(PATH, content=b"x" * 5_000_000)
    assert response.status_code == 413
    assert response.json()["error"]["code"] == "body_too_large"


async def test_what_is_no_route_or_no_task_has_the_rooms_shape(tasks_client: TasksClient) -> None:
    assert await tasks_client.refused("GET", "/exec_abc123") == (404, "execution_not_found")
    assert await tasks_client.refused("GET", "/a/b/c") == (404, "not_found")
    assert await tasks_client.refused("GET", "") == (405, "method_not_allowed")
    del tasks_client.api.client.headers["authorization"]
    assert await tasks_client.refused("GET", "/exec_abc123") == (401, "invalid_api_key")


async def test_the_same_key_and_body_make_one_task(tasks_client: TasksClient) -> None:
    headers = {"Idempotency-Key": "once"}
    for body in (
        {"name": "x", "state": {"a": 1}},
        {"name": "y", "agent_id": "agent", "input": "Hi"},
    ):
        first = await tasks_client.ask("POST", "", body, headers=headers)
        again = await tasks_client.ask("POST", "", body, headers=headers)
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.content == first.content
        assert again.headers["idempotency-replayed"] == "true"
        assert again.headers["location"] == first.headers["location"]
        headers = {"Idempotency-Key": "twice"}
    other = await tasks_client.refused("POST", "", {"name": "z"}, headers=headers)
    assert other == (422, "idempotency_mismatch")
    assert len((await tasks_client.api.get("/v1/executions")).json()["data"]) == 2


async def test_every_spelling_of_an_id_finds_the_task(tasks_client: TasksClient) -> None:
    task_id = await tasks_client.create()
    assert (await tasks_client.task(str(to_uuid4(task_id))))["id"] == task_id


async def test_another_workspaces_task_is_not_there(tasks_client: TasksClient) -> None:
    task_id = await tasks_client.create()
    keys = tasks_client.api.core.services.keys
    other = await keys.create(
        (await tasks_client.api.core.services.workspaces.put("other")).id, "other"
    )
    tasks_client.api.client.headers["authorization"] = f"Bearer {other.secret}"
    for method, path, body in (
        ("GET", "", None),
        ("PATCH", "", {"state": {}}),
        ("PUT", "/checkpoint", {}),
        ("POST", "/pause", {}),
        ("POST", "/resume", {}),
        ("POST", "/complete", {}),
        ("POST", "/fail", {"error": "x"}),
        ("DELETE", "", None),
    ):
        found = await tasks_client.refused(method, f"/{task_id}{path}", body)
        assert found == (404, "execution_not_found")
    assert await tasks_client.refused("POST", "", {"name": "x", "agent_id": "agent"}) == (
        404,
        "agent_not_found",
    )


async def test_a_key_that_may_only_read_moves_nothing(tasks_client: TasksClient) -> None:
    task_id = await tasks_client.create()
    keys = tasks_client.api.core.services.keys
    reader = await keys.create(
        tasks_client.api.caller.workspace_id, "reader", frozenset({Scope.EXECUTIONS_READ})
    )
    tasks_client.api.client.headers["authorization"] = f"Bearer {reader.secret}"
    assert (await tasks_client.task(task_id))["status"] == "running"
    for method, path, body in (
        ("POST", "", {"name": "x"}),
        ("PATCH", f"/{task_id}", {"state": {}}),
        ("PUT", f"/{task_id}/checkpoint", {}),
        ("POST", f"/{task_id}/pause", {}),
        ("POST", f"/{task_id}/resume", {}),
        ("POST", f"/{task_id}/complete", {}),
        ("POST", f"/{task_id}/fail", {"error": "x"}),
        ("DELETE", f"/{task_id}", None),
    ):
        assert await tasks_client.refused(method, path, body) == (403, "insufficient_scope")
