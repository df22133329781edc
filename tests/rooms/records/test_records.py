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
from tests.engine.world import Actor, Bench, Reply, by_turn, call, spec, tool
from tests.rooms.conftest import Build
from tests.rooms.house import BOUND, House
from tests.rooms.records.reader import MODEL, PATH, PRICES, one, page, refused, told, tree, uuid

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


async def made(house: House, text: str = "Hi", agent: str = "agent") -> str:
    response = await house.execute({"input": text}, agent)
    assert response.status_code == 200, response.text
    return str(response.json()["id"])


async def test_a_record_has_exactly_the_fields_of_the_contract(build: Build) -> None:
    house = await build(clock=FakeClock(1_773_570_600_000), prices=PRICES)
    execution = (await house.execute({"input": "Hi"})).json()
    found = await one(house, execution["id"])
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
        "workspaceId": uuid(house.caller.workspace_id),
    }
    assert found["creditsUsed"] * 10**9 == MODEL
    for name in ("id", "responderId", "workspaceId"):
        assert UUID(found[name]).version == 4
    assert await page(house) == [found]


async def test_pages_are_numbered_from_the_newest(house: House) -> None:
    newest_first = [uuid(await made(house, str(n))) for n in range(12)][::-1]

    async def ids(**query: Any) -> list[str]:
        return [record["id"] for record in await page(house, **query)]

    assert await ids() == newest_first[:10]
    assert await ids(pageNumber=2) == newest_first[10:]
    assert await ids(pageNumber=3) == []
    assert await ids(pageNumber=2, pageSize=5) == newest_first[5:10]
    assert await ids(pageSize=100) == newest_first
    assert await ids(pageNumber=2**53, pageSize=100) == []


async def test_responders_choose_one_by_one_or_together(build: Build) -> None:
    house = await build()
    for name in ("second", "third"):
        agent = AgentSpec(name, "actor")
        await house.core.services.agents.put(house.caller.workspace_id, [(agent, "1")])
    found: dict[str, tuple[str, str]] = {}
    for number in range(9):
        name = ("agent", "second", "third")[number % 3]
        execution = (await house.execute({"input": "Hi"}, name)).json()
        found[uuid(execution["id"])] = (name, execution["agentId"])
    agents = dict(found.values())

    async def named(query: str) -> list[str]:
        records = (await house.client.get(f"{PATH}?{query}")).json()
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
async def test_a_bad_parameter_is_400_and_named(house: House, param: str, value: str) -> None:
    status, code, message = await refused(house, PATH, **{param: value})
    assert (status, code) == (400, "invalid_field_value")
    assert param.removesuffix("[]") in message


async def test_more_than_a_hundred_responders_are_400(house: House) -> None:
    many = "&".join(f"responderIds={UNKNOWN}" for _ in range(101))
    response = await house.client.get(f"{PATH}?{many}")
    assert response.status_code == 400
    assert "responderIds" in told(response)[1]


async def test_an_execution_and_a_step_are_found_by_every_spelling(build: Build) -> None:
    house = await build(
        Actor(by_turn([call(1, "look")], ["Seen."])), spec(tool("look")), Bench(look=lambda _: 1)
    )
    root = await tree(house, await made(house))
    for prefix, node in ((EXECUTION, root), (STEP, root["children"][1])):
        shown = UUID(node["id"])
        seven = UUID(int=shown.int & ~(0xF << 76) | 7 << 76)
        typeid = from_uuid(prefix, seven)
        for spelling in (shown, str(shown).upper(), shown.hex, seven, typeid, typeid.upper()):
            found = await one(house, str(spelling))
            assert found["id"] == node["id"]
            again = await tree(house, str(spelling))
            assert again == node
    assert root["children"][1]["detail"]["type"] == "tool"


@pytest.mark.parametrize("wrong", ["nonsense", "exec_x", "agt_01k6zj3t7hf2a9q1x5m8r4c0vb", "a%00b"])
async def test_what_is_no_id_is_400(house: House, wrong: str) -> None:
    status, code, message = await refused(house, f"{PATH}/{wrong}")
    assert (status, code) == (400, "invalid_field_value")
    assert message.startswith("executionId: ")
    for param in ("executionId", "chatMessageId"):
        response = await house.client.get(f"{PATH}/nestings?{param}={wrong}")
        assert response.status_code == 400
        assert told(response)[1].startswith(f"{param}: ")


async def test_what_nobody_has_is_404(house: House) -> None:
    for path in (
        f"{PATH}/{UNKNOWN}",
        f"{PATH}/step_01k6zj3t7hf2a9q1x5m8r4c0vb",
        f"{PATH}/nestings?executionId={UNKNOWN}",
        f"{PATH}/nestings?chatMessageId={UNKNOWN}",
    ):
        response = await house.client.get(path)
        assert response.status_code == 404
        assert told(response)[0] == "execution_not_found"


async def test_nestings_take_exactly_one_of_two_ids(house: House) -> None:
    path = f"{PATH}/nestings"
    status, _, message = await refused(house, path)
    assert status == 400
    assert "executionId" in message
    assert "chatMessageId" in message
    status, _, message = await refused(house, path, executionId=UNKNOWN, chatMessageId=UNKNOWN)
    assert status == 400
    assert "together" in message


async def test_a_message_leads_to_the_execution_that_wrote_or_answered_it(house: House) -> None:
    first = (await house.execute({"input": "Hi"})).json()
    more = {"input": "Ho", "conversationId": first["conversationId"]}
    second = (await house.execute(more)).json()
    conversation = (await house.get(f"/v1/conversations/{first['conversationId']}")).json()
    assert len(conversation["turns"]) == 4
    for turn in conversation["turns"]:
        for spelling in (turn["id"], uuid(turn["id"])):
            found = await house.get(f"{PATH}/nestings", chatMessageId=spelling)
            assert found.json()["id"] == uuid(turn["executionId"])
            assert found.json()["children"]
    assert {turn["executionId"] for turn in conversation["turns"]} == {first["id"], second["id"]}


async def test_another_workspace_finds_nothing(build: Build) -> None:
    house = await build()
    execution = (await house.execute({"input": "Hi"})).json()
    root = await tree(house, execution["id"])
    keys = house.core.services.keys
    other = await keys.workspace("other")
    house.client.headers["authorization"] = (await keys.create(other.id, "theirs")).secret
    assert await page(house) == []
    assert await page(house, responderIds=execution["agentId"]) == []
    for wanted in (root["id"], root["children"][0]["id"]):
        assert (await house.get(f"{PATH}/{wanted}")).status_code == 404
        for param in ("executionId", "chatMessageId"):
            found = await house.get(f"{PATH}/nestings", **{param: wanted})
            assert found.status_code == 404


async def test_reading_needs_its_scope_and_a_key(build: Build) -> None:
    house = await build(scopes=frozenset({Scope.AGENTS_EXECUTE}))
    for path, query in (
        (PATH, {}),
        (f"{PATH}/{UNKNOWN}", {}),
        (f"{PATH}/nestings", {"executionId": UNKNOWN}),
    ):
        status, code, _ = await refused(house, path, **query)
        assert (status, code) == (403, "insufficient_scope")
    del house.client.headers["authorization"]
    response = await house.client.get(PATH)
    assert (response.status_code, told(response)[0]) == (401, "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"
    house.client.headers["x-api-key"] = house.key
    assert (await house.client.get(PATH)).status_code == 403


async def test_the_bare_key_is_enough_authorization(house: House) -> None:
    house.client.headers["authorization"] = house.key
    assert await page(house) == []


async def test_every_status_has_its_word(build: Build) -> None:
    held = asyncio.Event()
    replies: dict[str, Reply] = {
        "held": ["Hel", held],
        "failing": ["Well", ModelRejected("No.")],
        "asking": [call(1, "refund")],
        "quick": ["ok"],
    }
    actor = Actor(lambda request: replies[request.messages[-1].text])  # type: ignore[union-attr]
    house = await build(actor, spec(tool("refund", approval=True)), Bench(), concurrency=2)
    quick, failed, asking, cancelled, paused = [
        await made(house, text) for text in ("quick", "failing", "asking", "asking", "asking")
    ]
    await house.client.post(f"/v1/executions/{cancelled}/cancel")
    await house.client.post(f"/v1/executions/{paused}/pause")
    actor.spoke.clear()
    running = await house.started(input="held")
    async with asyncio.timeout(BOUND):
        await actor.spoke.wait()
    conversation = (await house.get(f"/v1/executions/{running}")).json()["conversationId"]
    queued = await house.started(input="held", conversationId=conversation)

    shown = {record["id"]: record for record in await page(house)}
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
    await house.rested(queued)


async def test_a_task_that_its_client_drives_is_a_record_without_a_model(house: House) -> None:
    task = await house.client.post("/v1/execution", json={"name": "Import", "state": {"page": 1}})
    task_id = task.json()["data"]["id"]
    found = await one(house, task_id)
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
    assert await page(house, responderIds=found["responderId"]) == [found]
    assert await tree(house, task_id) == found | {"children": []}


async def test_a_mistake_and_a_wrong_way_are_told_in_the_rooms_shape(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("/api/v1/executions/a/b", "/api/v1/nothing", "/api/v1"):
        assert (await refused(house, path))[:2] == (404, "not_found")
    response = await house.client.put(PATH)
    assert (response.status_code, response.headers["allow"]) == (405, "GET")
    assert told(response)[0] == "method_not_allowed"

    async def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(type(house.core.services.records), "page", broken)
    response = await house.get(PATH)
    assert response.status_code == 500
    assert "secret" not in response.text
    assert told(response)[0] == "internal_error"
