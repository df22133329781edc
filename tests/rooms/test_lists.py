"""Lists, one execution, cancel, conversations, agents."""

import asyncio

import pytest

from outlast.model.workspace import Scope
from outlast.testing import FakeClock
from tests.support.api import Api, MakeApi
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
UNKNOWN = "exec_01k6zj3t7hf2a9q1x5m8r4c0vb"


async def test_the_list_walks_both_ways_newest_first(api: Api) -> None:
    made = [(await api.execute({"input": str(n)})).json()["id"] for n in range(5)]
    newest_first = made[::-1]
    page = (await api.get("/v1/executions", limit=2)).json()
    assert [item["id"] for item in page["data"]] == newest_first[:2]
    assert page["hasMore"] is True
    page = (await api.get("/v1/executions", limit=2, after=page["nextCursor"])).json()
    assert [item["id"] for item in page["data"]] == newest_first[2:4]
    page = (await api.get("/v1/executions", limit=2, after=page["nextCursor"])).json()
    assert [item["id"] for item in page["data"]] == newest_first[4:]
    assert (page["hasMore"], page["nextCursor"]) == (False, None)
    page = (await api.get("/v1/executions", limit=2, before=made[0])).json()
    assert [item["id"] for item in page["data"]] == newest_first[2:4]
    assert page["hasMore"] is True
    page = (await api.get("/v1/executions", limit=2, before=page["nextCursor"])).json()
    assert [item["id"] for item in page["data"]] == newest_first[:2]
    assert page["hasMore"] is False


async def test_every_filter_chooses(make_api: MakeApi) -> None:
    clock = FakeClock(1_773_570_600_000)  # 2026-03-15T10:30:00Z
    api = await make_api(clock=clock)
    first = (await api.execute({"input": "Hi"})).json()
    assert first["createdAt"] == "2026-03-15T10:30:00.000Z"
    clock.advance(86_400)
    second = (await api.execute({"input": "Ho"})).json()

    async def listed(**filters: object) -> list[str]:
        response = await api.get("/v1/executions", **filters)
        assert response.status_code == 200, response.text
        return [item["id"] for item in response.json()["data"]]

    both = [second["id"], first["id"]]
    assert await listed(status="completed") == both
    assert await listed(status="failed") == []
    assert await listed(agentId="agent") == both
    assert await listed(agentId=first["agentId"]) == both
    assert await listed(conversationId=second["conversationId"]) == [second["id"]]
    assert await listed(parentId=first["id"]) == []
    assert await listed(startDate="2026-03-16") == [second["id"]]
    assert await listed(endDate="2026-03-15") == [first["id"]]
    assert await listed(startDate="2026-03-15", endDate="2026-03-16") == both
    assert await listed(endDate="2026-03-15T10:30:00Z") == [first["id"]]
    assert await listed(endDate="2026-03-15T10:29:59.999Z") == []
    assert await listed(startDate="2026-03-15T11:30:00+01:00") == both
    assert await listed(startDate="20260316T103000Z") == [second["id"]]
    assert await listed(startDate="2026-03-16t10:30:00z") == [second["id"]]
    response = await api.client.get("/v1/executions?startDate=2026-03-16T11:30:00+01:00")
    assert [item["id"] for item in response.json()["data"]] == [second["id"]]


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("limit", "0"),
        ("limit", "101"),
        ("limit", "x"),
        ("limit", "9" * 50),
        ("limit", ""),
        ("status", "done"),
        ("agentId", "unknown"),
        ("agentId", "a\0b"),
        ("conversationId", "conv_x"),
        ("parentId", "nothing"),
        ("startDate", "yesterday"),
        ("endDate", "2026-13-01"),
        ("after", "exec_x"),
        ("after", "agt_01k6zj3t7hf2a9q1x5m8r4c0vb"),
        ("before", "\0"),
    ],
)
async def test_a_bad_parameter_is_400_and_named(api: Api, param: str, value: str) -> None:
    response = await api.get("/v1/executions", **{param: value})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"] == param
    assert error["type"] == "invalid_request_error"
    assert error["code"] == "invalid_field_value"


async def test_unknown_parameters_are_ignored(api: Api) -> None:
    assert (await api.get("/v1/executions", colour="blue")).status_code == 200


async def test_an_id_may_come_in_every_spelling(api: Api) -> None:
    from outlast.model.ids import to_uuid4

    execution = (await api.execute({"input": "Hi"})).json()
    bare = str(to_uuid4(execution["id"]))
    for spelling in (bare, bare.upper(), execution["id"].upper()):
        assert (await api.get(f"/v1/executions/{spelling}")).json() == execution


@pytest.mark.parametrize("unknown", [UNKNOWN, "exec_abc123def456", "x", "a%00b", "%ff"])
async def test_an_unknown_execution_is_404(api: Api, unknown: str) -> None:
    for response in (
        await api.get(f"/v1/executions/{unknown}"),
        await api.client.post(f"/v1/executions/{unknown}/cancel"),
    ):
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "execution_not_found"


async def test_cancel_keeps_and_charges_what_was_written(make_api: MakeApi) -> None:
    model = FakeModel(by_turn(["Par", "tial", asyncio.Event()]))
    api = await make_api(model)
    execution_id = await api.started()
    async with asyncio.timeout(BOUND):
        await model.spoke.wait()
    response = await api.client.post(f"/v1/executions/{execution_id}/cancel")
    assert response.status_code == 200
    cancelled = response.json()
    assert set(cancelled) == {"id", "status", "output", "usage"}
    assert (cancelled["status"], cancelled["output"]) == ("cancelled", "Partial")
    assert cancelled["usage"]["outputTokens"] > 0
    assert cancelled["usage"]["estimated"] is True
    again = await api.client.post(f"/v1/executions/{execution_id}/cancel")
    assert again.status_code == 409
    stream = (await api.get(f"/v1/executions/{execution_id}/stream")).text
    assert '"type":"done"' in stream
    assert '"status":"cancelled"' in stream


async def test_a_conversation_shows_its_turns_and_can_be_forgotten(make_api: MakeApi) -> None:
    replies = by_turn([call(1, "lookup", order="7")], ["Shipped."])
    api = await make_api(
        FakeModel(replies), spec(tool("lookup")), FakeTools(lookup=lambda _: "shipped")
    )
    first = (await api.execute({"input": "Where is 7?"})).json()
    second = (
        await api.execute({"input": "Sure?", "conversationId": first["conversationId"]})
    ).json()
    path = f"/v1/conversations/{first['conversationId']}"
    found = (await api.get(path)).json()
    assert found["agentId"] == first["agentId"]
    assert [(t["role"], t["content"]) for t in found["turns"]] == [
        ("user", "Where is 7?"),
        ("assistant", "Shipped."),
        ("user", "Sure?"),
        ("assistant", "Shipped."),
    ]
    assert found["turns"][1]["toolCalls"] == first["toolCalls"]
    assert {t["executionId"] for t in found["turns"]} == {first["id"], second["id"]}
    assert len({t["id"] for t in found["turns"]}) == 4
    assert found["turnCount"] == 4
    assert found["tokenCount"] == 60
    assert (await api.client.delete(path)).status_code == 204
    assert (await api.get(path)).json()["error"]["code"] == "conversation_not_found"
    assert (await api.client.delete(path)).status_code == 404
    purged = (await api.get(f"/v1/executions/{first['id']}")).json()
    assert (purged["isPurged"], purged["output"], purged["toolCalls"]) == (True, None, [])


async def test_agents_are_listed_and_found_by_id_and_name(make_api: MakeApi) -> None:
    api = await make_api(agent=spec(tool("lookup")))
    page = (await api.get("/v1/agents")).json()
    (agent,) = page["data"]
    assert (page["hasMore"], page["nextCursor"], page["nextToken"]) == (False, None, None)
    assert agent["name"] == "agent"
    assert agent["model"] == "actor"
    assert agent["tools"] == [
        {
            "name": "lookup",
            "description": "Does lookup.",
            "parameters": {"type": "object"},
            "effect": "read_only",
        }
    ]
    assert (await api.get("/v1/agents/agent")).json() == agent
    assert (await api.get(f"/v1/agents/{agent['id']}")).json() == agent
    assert (await api.get("/v1/agents/unknown")).json()["error"]["code"] == "agent_not_found"
    assert (await api.get("/v1/executions")).json()["data"] == []


async def test_a_scope_that_is_missing_is_403(make_api: MakeApi) -> None:
    api = await make_api(scopes=frozenset({Scope.AGENTS_READ}))
    for response in (
        await api.execute({"input": "Hi"}),
        await api.execute(),
        await api.get("/v1/executions"),
        await api.get("/v1/events"),
        await api.get(f"/v1/executions/{UNKNOWN}/stream"),
        await api.client.delete("/v1/conversations/conv_01k6zj3t7hf2a9q1x5m8r4c0vb"),
    ):
        assert response.status_code == 403
        error = response.json()["error"]
        assert (error["type"], error["code"]) == ("permission_error", "insufficient_scope")


async def test_another_workspace_does_not_see_it(api: Api) -> None:
    execution = (await api.execute({"input": "Hi"})).json()
    keys = api.core.services.keys
    other = await api.core.services.workspaces.put("other")
    api.client.headers["authorization"] = (await keys.create(other.id, "theirs")).secret
    assert (await api.get(f"/v1/executions/{execution['id']}")).status_code == 404
    assert (await api.get(f"/v1/executions/{execution['id']}/stream")).status_code == 404
    path = f"/v1/conversations/{execution['conversationId']}"
    assert (await api.get(path)).status_code == 404
    assert (await api.get("/v1/executions")).json()["data"] == []
    assert (await api.execute({"input": "Hi"})).status_code == 404


async def test_the_stream_of_a_purged_execution_is_404_and_does_not_invite_to_come_back(
    api: Api,
) -> None:
    execution = (await api.execute({"input": "Hello"})).json()
    await api.client.delete(f"/v1/conversations/{execution['conversationId']}")
    response = await api.get(f"/v1/executions/{execution['id']}/stream")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "execution_not_found"


@pytest.mark.parametrize("param", ["after", "before"])
async def test_a_cursor_of_an_execution_that_does_not_exist_is_400_and_named(
    api: Api, param: str
) -> None:
    response = await api.get("/v1/executions", **{param: "exec_01m82vyvypefp9z2mxzn0a6as6"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("cursor", ["1-99999", "9-1"])
async def test_a_stream_cursor_that_was_never_given_out_is_400(api: Api, cursor: str) -> None:
    execution = (await api.execute({"input": "Hello"})).json()
    response = await api.get(f"/v1/executions/{execution['id']}/stream", after=cursor)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "after"
