"""Schedules over HTTP: what is taken and refused, who sees them, and that runs are like others."""

from typing import Any

import pytest

from outlast.engine.maintenance.due_schedules import FIRE_SCHEDULES
from outlast.model.memory import Access, MemoryAccess, NamedStore
from outlast.model.workspace import Scope
from outlast.testing import FakeClock
from tests.rooms.conftest import MakeApi
from tests.support.api import Api
from tests.support.tools import spec

pytestmark = pytest.mark.anyio
PATH = "/v1/schedules"
DAILY = {"agentId": "agent", "cron": "0 9 * * *"}
GONE = "sch_01k6zj3t7hf2a9q1x5m8r4c0vb"


async def made(api: Api, **more: Any) -> dict[str, Any]:
    answer = await api.client.post(PATH, json=DAILY | more)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"agentId": "agent"}, (400, "cron")),
        (DAILY | {"agentId": "unknown"}, (404, "agentId")),
        (DAILY | {"cron": "0 0 9 * * *"}, (422, "cron")),
        (DAILY | {"times": ["09:00"]}, (422, "times")),
        ({"times": ["9:00"]}, (422, "times")),
        ({"times": []}, (422, "times")),
        ({"times": ["09:00"], "tasksPerDay": 2}, (422, "tasksPerDay")),
        ({"tasksPerDay": 101}, (422, "tasksPerDay")),
        (DAILY | {"mode": "MANUAL"}, (422, "mode")),
        (DAILY | {"timezone": "Mars/Base"}, (422, "timezone")),
        (DAILY | {"timezone": "Europe"}, (422, "timezone")),
        (DAILY | {"overlap": "never"}, (422, "overlap")),
        (DAILY | {"catchUpWindow": 59}, (422, "catchUpWindow")),
        (DAILY | {"jitterSeconds": 301}, (422, "jitterSeconds")),
        (DAILY | {"pauseAfterFailures": 0}, (422, "pauseAfterFailures")),
        (DAILY | {"conversationId": "conv_01k6zj3t7hf2a9q1x5m8r4c0vb"}, (404, "conversationId")),
        (DAILY | {"startAt": "2027-01-02", "endAt": "2027-01-01"}, (422, "endAt")),
        (DAILY | {"endAt": "2020-01-01"}, (422, "endAt")),
        (DAILY | {"input": ""}, (422, "input")),
        (DAILY | {"budget": {"maxSteps": 0}}, (422, "budget.maxSteps")),
    ],
)
async def test_a_schedule_that_cannot_be_is_refused(
    api: Api, body: dict[str, Any], expected: tuple[int, str]
) -> None:
    answer = await api.client.post(PATH, json=body)
    assert (answer.status_code, answer.json()["error"]["param"]) == expected, answer.text
    assert (await api.get(PATH)).json()["data"] == []


async def test_a_schedule_is_where_its_location_says_and_in_the_list_of_its_agent(api: Api) -> None:
    answer = await api.client.post(PATH, json=DAILY | {"name": "morning", "tasksPerDay": None})
    shown = answer.json()
    assert (await api.get(answer.headers["location"])).json() == shown
    page = (await api.get(PATH, agentId="agent", limit=1)).json()
    assert page == {"data": [shown], "hasMore": False, "nextCursor": None}
    assert (shown["name"], len(shown["nextRuns"]), shown["source"]) == ("morning", 5, "api")
    for path in ("/v1/agents", "/v1/agents/agent"):
        found = (await api.get(path)).json()
        (agent,) = found.get("data", [found])
        assert [one["id"] for one in agent["schedules"]] == [shown["id"]]
    assert (await api.get(PATH, agentId="unknown")).status_code == 400


async def test_the_shape_of_the_background_room_s_page_is_a_schedule(api: Api) -> None:
    shape = {"mode": "SCHEDULED", "tasksPerDay": 2, "times": ["09:00", "15:30"]}
    answer = await api.client.post(PATH, json={"agentId": "agent"} | shape)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["cron"], answer.json()["times"]) == (None, ["09:00", "15:30"])
    spread = await api.client.post(PATH, json={"agentId": "agent", "tasksPerDay": 3})
    assert spread.json()["times"] == ["09:00", "13:00", "17:00"]


async def test_the_first_schedules_of_an_agent_are_shown_with_it(api: Api) -> None:
    ids = [(await made(api))["id"] for _ in range(21)]
    (agent,) = (await api.get("/v1/agents")).json()["data"]
    assert [one["id"] for one in agent["schedules"]] == ids[:20]
    page = (await api.get(PATH, limit=15)).json()
    rest = (await api.get(PATH, limit=15, after=page["nextCursor"])).json()
    assert [one["id"] for one in page["data"] + rest["data"]] == ids[::-1]
    assert (page["hasMore"], rest["hasMore"]) == (True, False)
    back = (await api.get(PATH, limit=2, before=ids[0])).json()
    assert [one["id"] for one in back["data"]] == [ids[2], ids[1]]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"times": ["10:00"]}, {"cron": None, "times": ["10:00"]}),
        ({"tasksPerDay": 2}, {"cron": None, "times": ["09:00", "17:00"]}),
        ({"cron": "@hourly"}, {"cron": "0 * * * *", "times": None}),
        ({"name": "new", "input": "Go", "overlap": "queue"}, {"name": "new", "overlap": "queue"}),
        ({"input": None, "timezone": None}, {"timezone": "UTC"}),
        ({}, {"cron": "0 9 * * *"}),
    ],
)
async def test_a_change_sets_what_is_sent_and_nothing_else(
    api: Api, change: dict[str, Any], expected: dict[str, Any]
) -> None:
    before = await made(api, metadata={"a": 1}, jitterSeconds=7)
    answer = await api.client.patch(f"{PATH}/{before['id']}", json=change)
    assert answer.status_code == 200, answer.text
    after = answer.json()
    assert {name: after[name] for name in expected} == expected
    kept = ("id", "metadata", "jitterSeconds", "agentId", "createdAt", "status")
    assert [after[name] for name in kept] == [before[name] for name in kept]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/fire"),
        ("GET", "/runs"),
    ],
)
async def test_another_workspaces_schedule_is_not_there(api: Api, method: str, path: str) -> None:
    own = await made(api)
    services = api.core.services
    other = await services.workspaces.put("other")
    key = (await services.keys.create(other.id, "key")).secret
    for schedule_id in (own["id"], GONE, "none"):
        answer = await api.client.request(
            method,
            f"{PATH}/{schedule_id}{path}",
            json={} if method in ("PATCH", "POST") else None,
            headers={"Authorization": f"Bearer {key}"},
        )
        assert answer.status_code == 404, answer.text
        assert answer.json()["error"]["code"] == "schedule_not_found"
    assert (await api.get(f"{PATH}/{own['id']}")).json() == own


async def test_a_key_that_only_reads_changes_nothing(api: Api) -> None:
    own = await made(api)
    workspace = api.caller.workspace_id
    keys = api.core.services.keys
    key = (await keys.create(workspace, "reader", frozenset({Scope.AGENTS_READ}))).secret
    headers = {"Authorization": f"Bearer {key}"}
    assert (await api.client.get(f"{PATH}/{own['id']}", headers=headers)).status_code == 200
    for path in (PATH, f"{PATH}/{own['id']}/fire", "/v1/agents/agent/pause"):
        refused = await api.client.post(path, json=DAILY, headers=headers)
        assert refused.status_code == 403


async def test_a_request_by_hand_that_is_repeated_runs_once(api: Api) -> None:
    own, once = await made(api), {"Idempotency-Key": "once"}
    path = f"{PATH}/{own['id']}/fire"
    answers = [await api.client.post(path, json={}, headers=once) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].json() == answers[1].json()
    assert answers[1].headers["idempotency-replayed"] == "true"
    await api.rested(answers[0].json()["executionId"])
    assert len((await api.get(f"{PATH}/{own['id']}/runs")).json()["data"]) == 1
    other = await api.client.post(path, json={"overlap": "allow"}, headers=once)
    assert other.status_code == 422


async def test_a_poller_sees_a_scheduled_run_and_nothing_that_is_read_starts_one(
    make_api: MakeApi,
) -> None:
    clock = FakeClock()
    api = await make_api(clock=clock)
    await api.core.maintenance.hold(FIRE_SCHEDULES)
    own = await made(api, cron="* * * * *", input="Report.")
    for path in ("/v1/agents", "/v1/agents/agent", PATH, f"{PATH}/{own['id']}", "/v1/events"):
        assert (await api.get(path)).status_code == 200
    events = "/v1/agents/agent/events"
    assert (await api.get(events, limit=1)).json()["data"] == []
    clock.advance(60)
    await api.core.maintenance.run(FIRE_SCHEDULES)
    while True:
        (event,) = (await api.get(events, limit=1)).json()["data"]
        if event["status"] in ("COMPLETED", "FAILED"):
            break
    assert (event["status"], event["output"]) == ("COMPLETED", "Hello")
    execution = (await api.get(f"/v1/executions/{event['id']}")).json()
    assert execution["schedule"]["scheduleId"] == own["id"]
    assert execution["input"] == "Report."


@pytest.mark.parametrize("given", [None, "Write the report."])
async def test_a_run_without_a_body_has_the_input_of_the_agents_own_schedule(
    make_api: MakeApi, given: str | None
) -> None:
    schedule = None if given is None else {"cron": "@daily", "input": given}
    api = await make_api(agent=spec(schedule=schedule))
    answer = await api.client.post("/v1/agents/agent/execute")
    execution = await api.rested(answer.json()["data"]["requestId"])
    assert execution["input"] == (given or "Carry out your instructions.")


async def test_runs_have_the_memory_stores_of_their_schedule(api: Api) -> None:
    answer = await api.client.post("/v1/memory-stores", json={"name": "notes"})
    store = answer.json()["id"]
    given = [{"id": store, "access": "read_only"}]
    own = await made(api, memoryStores=given)
    assert own["memoryStores"] == given
    fired = (await api.client.post(f"{PATH}/{own['id']}/fire", json={})).json()
    await api.rested(fired["executionId"])
    workspace = api.caller.workspace_id
    execution = await api.core.store.executions.get(workspace, fired["executionId"])
    assert execution.memory_stores == (MemoryAccess(store, Access.READ_ONLY),)
    changed = await api.client.patch(f"{PATH}/{own['id']}", json={"memoryStores": [store]})
    assert changed.json()["memoryStores"] == [{"id": store, "access": "read_write"}]
    gone = {"memoryStores": ["mem_01k6zj3t7hf2a9q1x5m8r4c0vb"]}
    for refused in (
        await api.client.post(PATH, json=DAILY | gone),
        await api.client.patch(f"{PATH}/{own['id']}", json=gone),
    ):
        assert (refused.status_code, refused.json()["error"]["param"]) == (404, "memoryStores.0")


async def test_runs_of_a_schedule_without_memory_stores_have_those_of_the_agent(
    make_api: MakeApi,
) -> None:
    named = (NamedStore("notes"), NamedStore("laws", "read_only"), NamedStore("lacking"))
    api = await make_api(agent=spec(memory_stores=named))
    ids = [
        (await api.client.post("/v1/memory-stores", json={"name": name})).json()["id"]
        for name in ("notes", "laws", "own")
    ]
    of_agent = (MemoryAccess(ids[0]), MemoryAccess(ids[1], Access.READ_ONLY))
    for given, expected in (
        ({}, of_agent),
        ({"memoryStores": None}, of_agent),
        ({"memoryStores": []}, ()),
        ({"memoryStores": [ids[2]]}, (MemoryAccess(ids[2]),)),
    ):
        own = await made(api, **given)
        assert await _stores_of_a_run(api, own["id"]) == expected, given
    own = await made(api, memoryStores=[ids[2]])
    reset = await api.client.patch(f"{PATH}/{own['id']}", json={"memoryStores": None})
    assert reset.json()["memoryStores"] is None
    assert await _stores_of_a_run(api, own["id"]) == of_agent


async def _stores_of_a_run(api: Api, schedule_id: str) -> tuple[MemoryAccess, ...]:
    fired = (await api.client.post(f"{PATH}/{schedule_id}/fire", json={})).json()
    await api.rested(fired["executionId"])
    workspace = api.caller.workspace_id
    return (await api.core.store.executions.get(workspace, fired["executionId"])).memory_stores


async def test_a_run_is_given_no_memory_store_that_is_archived_or_gone(api: Api) -> None:
    store = (await api.client.post("/v1/memory-stores", json={"name": "notes"})).json()["id"]
    own = await made(api, memoryStores=[store])
    expected: list[str] = []
    for change, status, code in (
        ({"archived": True}, 409, "memory_store_archived"),
        (None, 404, "memory_store_not_found"),
    ):
        path = f"/v1/memory-stores/{store}"
        if change is None:
            await api.client.delete(path)
        else:
            await api.client.patch(path, json=change)
        fired = await api.client.post(f"{PATH}/{own['id']}/fire", json={})
        assert (fired.status_code, fired.json()["error"]["code"]) == (status, code)
        expected.insert(0, code)
        runs = (await api.client.get(f"{PATH}/{own['id']}/runs")).json()["data"]
        assert [(run["executionId"], run["error"]["code"]) for run in runs] == [
            (None, code) for code in expected
        ]
