"""Records: pages, one record, ids in every spelling, and whose they are."""

import asyncio
from typing import Any
from uuid import UUID

import pytest

from outlast.model.agent import AgentSpec
from outlast.model.error import ModelRejected
from outlast.model.ids import EXECUTION, STEP, from_uuid
from outlast.model.workspace import Scope
from outlast.testing import FakeClock
from tests.support.api import Api, MakeApi
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.records_room import MODEL, PATH, PRICES, error_of, one, page, refused, tree, uuid
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
FIELDS = {
    "createdAt",
    "id",
    "updatedAt",
    "creditsUsed",
    "detail",
    "endedAt",
    "isAgentic",
    "isPurged",
    "parentId",
    "responderId",
    "startedAt",
    "status",
    "workspaceId",
}
USAGE = {
    "inputTokens": 10,
    "outputTokens": 5,
    "totalTokens": 15,
    "cacheReadTokens": 3,
    "cacheWriteTokens": 1,
    "estimated": False,
}
UNKNOWN = "019cf10b-ac40-4000-8000-0000000000ff"


async def made(api: Api, text: str = "Hi", agent: str = "agent") -> str:
    response = await api.execute({"input": text}, agent)
    assert response.status_code == 200, response.text
    return str(response.json()["id"])


async def test_a_record_has_exactly_the_fields_of_the_contract(make_api: MakeApi) -> None:
    api = await make_api(clock=FakeClock(1_773_570_600_000), prices=PRICES)
    execution = (await api.execute({"input": "Hi"})).json()
    found = await one(api, execution["id"])
    assert set(found) == FIELDS
    assert found == {
        "createdAt": "2026-03-15T10:30:00.000Z",
        "id": uuid(execution["id"]),
        "updatedAt": "2026-03-15T10:30:00.000Z",
        "creditsUsed": found["creditsUsed"],
        "detail": {
            "type": "agent",
            "input": "Hi",
            "output": "Hello",
            "model": "actor-1",
            "usage": USAGE,
            "error": None,
        },
        "endedAt": "2026-03-15T10:30:00.000Z",
        "isAgentic": True,
        "isPurged": False,
        "parentId": None,
        "responderId": uuid(execution["agentId"]),
        "startedAt": "2026-03-15T10:30:00.000Z",
        "status": "completed",
        "workspaceId": uuid(api.caller.workspace_id),
    }
    assert found["creditsUsed"] * 10**9 == MODEL
    for name in ("id", "responderId", "workspaceId"):
        assert UUID(found[name]).version == 4
    assert await page(api) == [found]


async def test_pages_are_numbered_from_the_newest(api: Api) -> None:
    newest_first = [uuid(await made(api, str(n))) for n in range(12)][::-1]

    async def ids(**query: Any) -> list[str]:
        return [record["id"] for record in await page(api, **query)]

    assert await ids() == newest_first[:10]
    assert await ids(pageNumber=2) == newest_first[10:]
    assert await ids(pageNumber=3) == []
    assert await ids(pageNumber=2, pageSize=5) == newest_first[5:10]
    assert await ids(pageSize=100) == newest_first
    assert await ids(pageNumber=2**53, pageSize=100) == []


async def test_responders_choose_one_by_one_or_together(make_api: MakeApi) -> None:
    api = await make_api()
    for name in ("second", "third"):
        agent = AgentSpec(name, "actor")
        await api.core.services.agents.put(api.caller.workspace_id, [(agent, "1")])
    found: dict[str, tuple[str, str]] = {}
    for number in range(9):
        name = ("agent", "second", "third")[number % 3]
        execution = (await api.execute({"input": "Hi"}, name)).json()
        found[uuid(execution["id"])] = (name, execution["agentId"])
    agents = dict(found.values())

    async def named(query: str) -> list[str]:
        records = (await api.client.get(f"{PATH}?{query}")).json()
        assert [r["id"] for r in records] == [i for i in reversed(found) if i in str(records)]
        return [found[record["id"]][0] for record in records]

    one_, two = agents["agent"], agents["third"]
    assert await named(f"responderIds={one_}") == ["agent"] * 3
    assert await named(f"responderIds={uuid(one_)}&responderIds={two}") == ["third", "agent"] * 3
    brackets = f"responderIds[]={uuid(one_)}&responderIds[]={uuid(two)}"
    assert await named(brackets) == ["third", "agent"] * 3
    twice = f"responderIds={one_}&responderIds={uuid(one_)}"
    assert await named(f"{twice}&pageSize=2") == ["agent"] * 2
    both = f"responderIds={one_}&responderIds={two}&pageSize=4"
    assert await named(both) == ["third", "agent"] * 2
    assert await named(f"{both}&pageNumber=2") == ["third", "agent"]
    assert await named(f"responderIds={UNKNOWN}") == []
    assert await named(f"responderIds={UNKNOWN}&responderIds={one_}") == ["agent"] * 3


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("pageNumber", "0"),
        ("pageNumber", "-1"),
        ("pageNumber", "x"),
        ("pageNumber", "1.5"),
        ("pageNumber", ""),
        ("pageNumber", "9" * 50),
        ("pageSize", "0"),
        ("pageSize", "101"),
        ("pageSize", "ten"),
        ("responderIds", "agent"),
        ("responderIds", ""),
        ("responderIds", "exec_01k6zj3t7hf2a9q1x5m8r4c0vb"),
        ("responderIds[]", "a\0b"),
    ],
)
async def test_a_bad_parameter_is_400_and_named(api: Api, param: str, value: str) -> None:
    status, code, message = await refused(api, PATH, **{param: value})
    assert (status, code) == (400, "invalid_field_value")
    assert param.removesuffix("[]") in message


async def test_more_than_a_hundred_responders_are_400(api: Api) -> None:
    many = "&".join(f"responderIds={UNKNOWN}" for _ in range(101))
    response = await api.client.get(f"{PATH}?{many}")
    assert response.status_code == 400
    assert "responderIds" in error_of(response)[1]


async def test_an_execution_and_a_step_are_found_by_every_spelling(make_api: MakeApi) -> None:
    api = await make_api(
        FakeModel(by_turn([call(1, "look")], ["Seen."])),
        spec(tool("look")),
        FakeTools(look=lambda _: 1),
    )
    root = await tree(api, await made(api))
    for prefix, node in ((EXECUTION, root), (STEP, root["children"][1])):
        shown = UUID(node["id"])
        seven = UUID(int=shown.int & ~(0xF << 76) | 7 << 76)
        typeid = from_uuid(prefix, seven)
        for spelling in (shown, str(shown).upper(), shown.hex, seven, typeid, typeid.upper()):
            found = await one(api, str(spelling))
            assert found["id"] == node["id"]
            again = await tree(api, str(spelling))
            assert again == node
    assert root["children"][1]["detail"]["type"] == "tool"


@pytest.mark.parametrize("wrong", ["nonsense", "exec_x", "agt_01k6zj3t7hf2a9q1x5m8r4c0vb", "a%00b"])
async def test_what_is_no_id_is_400(api: Api, wrong: str) -> None:
    status, code, message = await refused(api, f"{PATH}/{wrong}")
    assert (status, code) == (400, "invalid_field_value")
    assert message.startswith("executionId: ")
    for param in ("executionId", "chatMessageId"):
        response = await api.client.get(f"{PATH}/nestings?{param}={wrong}")
        assert response.status_code == 400
        assert error_of(response)[1].startswith(f"{param}: ")


async def test_what_does_not_exist_is_404(api: Api) -> None:
    for path in (
        f"{PATH}/{UNKNOWN}",
        f"{PATH}/step_01k6zj3t7hf2a9q1x5m8r4c0vb",
        f"{PATH}/nestings?executionId={UNKNOWN}",
        f"{PATH}/nestings?chatMessageId={UNKNOWN}",
    ):
        response = await api.client.get(path)
        assert response.status_code == 404
        assert error_of(response)[0] == "execution_not_found"


async def test_nestings_take_exactly_one_of_two_ids(api: Api) -> None:
    path = f"{PATH}/nestings"
    status, _, message = await refused(api, path)
    assert status == 400
    assert "executionId" in message
    assert "chatMessageId" in message
    status, _, message = await refused(api, path, executionId=UNKNOWN, chatMessageId=UNKNOWN)
    assert status == 400
    assert "together" in message


async def test_a_message_leads_to_the_execution_that_wrote_or_answered_it(api: Api) -> None:
    first = (await api.execute({"input": "Hi"})).json()
    more = {"input": "Ho", "conversationId": first["conversationId"]}
    second = (await api.execute(more)).json()
    conversation = (await api.get(f"/v1/conversations/{first['conversationId']}")).json()
    assert len(conversation["turns"]) == 4
    for turn in conversation["turns"]:
        for spelling in (turn["id"], uuid(turn["id"])):
            found = await api.get(f"{PATH}/nestings", chatMessageId=spelling)
            assert found.json()["id"] == uuid(turn["executionId"])
            assert found.json()["children"]
    assert {turn["executionId"] for turn in conversation["turns"]} == {first["id"], second["id"]}


async def test_another_workspace_finds_nothing(make_api: MakeApi) -> None:
    api = await make_api()
    execution = (await api.execute({"input": "Hi"})).json()
    root = await tree(api, execution["id"])
    keys = api.core.services.keys
    other = await api.core.services.workspaces.put("other")
    api.client.headers["authorization"] = (await keys.create(other.id, "theirs")).secret
    assert await page(api) == []
    assert await page(api, responderIds=execution["agentId"]) == []
    for wanted in (root["id"], root["children"][0]["id"]):
        assert (await api.get(f"{PATH}/{wanted}")).status_code == 404
        for param in ("executionId", "chatMessageId"):
            found = await api.get(f"{PATH}/nestings", **{param: wanted})
            assert found.status_code == 404


async def test_reading_needs_its_scope_and_a_key(make_api: MakeApi) -> None:
    api = await make_api(scopes=frozenset({Scope.AGENTS_EXECUTE}))
    for path, query in (
        (PATH, {}),
        (f"{PATH}/{UNKNOWN}", {}),
        (f"{PATH}/nestings", {"executionId": UNKNOWN}),
    ):
        status, code, _ = await refused(api, path, **query)
        assert (status, code) == (403, "insufficient_scope")
    del api.client.headers["authorization"]
    response = await api.client.get(PATH)
    assert (response.status_code, error_of(response)[0]) == (401, "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"
    api.client.headers["x-api-key"] = api.key
    assert (await api.client.get(PATH)).status_code == 403


async def test_the_bare_key_is_enough_authorization(api: Api) -> None:
    api.client.headers["authorization"] = api.key
    assert await page(api) == []


async def test_every_status_has_its_word(make_api: MakeApi) -> None:
    held = asyncio.Event()
    replies: dict[str, Reply] = {
        "held": ["Hel", held],
        "failing": ["Well", ModelRejected("No.")],
        "asking": [call(1, "refund")],
        "quick": ["ok"],
    }
    model = FakeModel(lambda request: replies[request.messages[-1].text])  # type: ignore[union-attr]
    api = await make_api(model, spec(tool("refund", approval=True)), FakeTools(), concurrency=2)
    quick, failed, asking, cancelled, paused = [
        await made(api, text) for text in ("quick", "failing", "asking", "asking", "asking")
    ]
    await api.client.post(f"/v1/executions/{cancelled}/cancel")
    await api.client.post(f"/v1/executions/{paused}/pause")
    model.spoke.clear()
    running = await api.started(input="held")
    async with asyncio.timeout(BOUND):
        await model.spoke.wait()
    conversation = (await api.get(f"/v1/executions/{running}")).json()["conversationId"]
    queued = await api.started(input="held", conversationId=conversation)

    shown = {record["id"]: record for record in await page(api)}
    words = {
        execution_id: shown[uuid(execution_id)]["status"]
        for execution_id in (quick, failed, asking, cancelled, paused, running, queued)
    }
    assert words == {
        quick: "completed",
        failed: "failed",
        asking: "waiting",
        cancelled: "cancelled",
        paused: "paused",
        running: "running",
        queued: "queued",
    }
    for live in (asking, paused, running, queued):
        assert shown[uuid(live)]["endedAt"] is None
    waiting = shown[uuid(queued)]
    assert waiting["startedAt"] == waiting["createdAt"]
    assert waiting["detail"] | {"usage": None} == {
        "type": "agent",
        "input": "held",
        "output": None,
        "model": None,
        "usage": None,
        "error": None,
    }
    assert shown[uuid(failed)]["detail"]["error"] == {
        "type": "upstream_error",
        "code": "model_rejected",
        "message": "No.",
    }
    held.set()
    await api.rested(queued)


async def test_a_task_that_its_client_drives_is_a_record_without_a_model(api: Api) -> None:
    task = await api.client.post("/v1/execution", json={"name": "Import", "state": {"page": 1}})
    task_id = task.json()["data"]["id"]
    found = await one(api, task_id)
    assert set(found) == FIELDS
    assert (found["status"], found["isAgentic"], found["creditsUsed"]) == ("running", True, 0)
    assert found["responderId"] == uuid(task.json()["data"]["agent_id"])
    assert found["detail"] == {
        "type": "agent",
        "input": "Import",
        "output": None,
        "model": None,
        "usage": dict.fromkeys(USAGE, 0) | {"estimated": False},
        "error": None,
    }
    assert await page(api, responderIds=found["responderId"]) == [found]
    assert await tree(api, task_id) == found | {"children": []}


async def test_a_mistake_and_a_wrong_way_are_reported_in_the_rooms_shape(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("/api/v1/executions/a/b", "/api/v1/nothing", "/api/v1"):
        assert (await refused(api, path))[:2] == (404, "not_found")
    response = await api.client.put(PATH)
    assert (response.status_code, response.headers["allow"]) == (405, "GET")
    assert error_of(response)[0] == "method_not_allowed"

    async def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(type(api.core.services.records), "page", broken)
    response = await api.get(PATH)
    assert response.status_code == 500
    assert "secret" not in response.text
    assert error_of(response)[0] == "internal_error"
