"""End users and metadata of executions: kept, shown, filtered by, passed to tools."""

from typing import Any

import pytest

from tests.database import Database
from tests.engine.world import Actor, Bench, by_turn, call, spec, tool
from tests.rooms.conftest import Build
from tests.rooms.house import House

pytestmark = pytest.mark.anyio
LONGEST = "\U0001f600" * 256


async def ids(house: House, path: str = "/v1/executions", **filters: str) -> list[str]:
    answer = await house.get(path, **filters)
    assert answer.status_code == 200, answer.text
    assert "outlast-warning" not in answer.headers
    return [one["id"] for one in answer.json()["data"]]


async def test_the_user_is_kept_with_execution_and_conversation_and_lists_filter_by_it(
    house: House,
) -> None:
    ann = (await house.execute({"input": "Hi", "user": "ann"})).json()
    bob = (await house.execute({"input": "Hi", "user": LONGEST})).json()
    none = (await house.execute({"input": "Hi"})).json()
    assert [one["user"] for one in (ann, bob, none)] == ["ann", LONGEST, None]
    assert await ids(house, user="ann") == [ann["id"]]
    assert await ids(house, user=LONGEST) == [bob["id"]]
    assert await ids(house, user="eve") == []
    assert await ids(house, "/v1/conversations", user="ann") == [ann["conversationId"]]
    record = (await house.get(f"/api/v1/executions/{ann['id']}")).json()
    assert record["detail"]["user"] == "ann"


async def test_a_later_turn_has_the_conversation_s_user_unless_it_names_its_own(
    house: House,
) -> None:
    first = (await house.execute({"input": "Hi", "user": "ann"})).json()
    conversation = first["conversationId"]
    same = (await house.execute({"input": "Hi", "conversationId": conversation})).json()
    other = (
        await house.execute({"input": "Hi", "conversationId": conversation, "user": "bob"})
    ).json()
    assert (same["user"], other["user"]) == ("ann", "bob")
    assert await ids(house, user="ann") == [same["id"], first["id"]]
    assert await ids(house, "/v1/conversations", user="ann") == [conversation]
    assert await ids(house, "/v1/conversations", user="bob") == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"user": ""}, "user"),
        ({"user": "x" * 257}, "user"),
        ({"user": 7}, "user"),
        ({"forwardedHeaders": {"X": 1}}, "forwardedHeaders.X"),
        ({"forwardedHeaders": {"a b": "c"}}, "forwardedHeaders"),
        ({"forwardedHeaders": {f"x{n}": "" for n in range(65)}}, "forwardedHeaders"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/agents/agent/execute", "/run/api/executions"])
async def test_what_is_no_user_or_header_is_refused_by_name(
    house: House, path: str, body: dict[str, Any], param: str
) -> None:
    whole = {"input": "Hi", "messages": [{"role": "user", "content": "Hi"}], **body}
    answer = await house.client.post(path, json=whole)
    assert answer.status_code in (400, 422)
    if path.startswith("/v1"):
        assert answer.json()["error"]["param"] == param
    assert await ids(house) == []


async def test_a_tool_learns_user_metadata_and_forwarded_headers(build: Build) -> None:
    bench = Bench(look=lambda _: "seen")
    actor = Actor(by_turn([call(1, "look")], ["Done"]))
    house = await build(actor, spec(tool("look")), bench)
    body = {
        "input": "Hi",
        "user": "ann",
        "metadata": {"source": "web"},
        "forwardedHeaders": {"X-Tenant": "acme"},
    }
    execution = (await house.execute(body)).json()
    context = bench.context
    assert context is not None
    assert (context.user, context.metadata) == ("ann", {"source": "web"})
    assert context.headers == {"X-Tenant": "acme"}
    assert "acme" not in str(execution)

    messages = [{"role": "user", "content": "Hi"}]
    run = {"messages": messages, "user": "bob", "metadata": {"source": "chat"}}
    await house.client.post("/run/api/executions", json=run)
    assert bench.context is not None
    assert (bench.context.user, bench.context.metadata) == ("bob", {"source": "chat"})


async def test_lists_filter_by_the_metadata_that_the_operator_names(build: Build) -> None:
    house = await build(indexed_metadata="source, plan,vip,n")
    web = (await house.execute({"input": "Hi", "metadata": {"source": "web-chat", "n": 1}})).json()
    app = (
        await house.execute(
            {"input": "Hi", "metadata": {"source": "app", "plan": "ü&=", "vip": True, "n": 1}}
        )
    ).json()
    await house.execute({"input": "Hi", "metadata": {"source": ["web-chat"], "other": "x"}})
    await house.execute({"input": "Hi", "metadata": {"source": "x" * 300, "plan": None}})
    assert await ids(house, **{"metadata.source": "web-chat"}) == [web["id"]]
    assert await ids(house, **{"metadata.plan": "ü&="}) == [app["id"]]
    assert await ids(house, **{"metadata.vip": "true", "metadata.n": "1"}) == [app["id"]]
    assert await ids(house, **{"metadata.n": "1"}) == [app["id"], web["id"]]
    assert await ids(house, **{"metadata.n": "1", "after": app["id"]}) == [web["id"]]
    assert await ids(house, **{"metadata.n": "1", "before": web["id"]}) == [app["id"]]
    assert await ids(house, **{"metadata.n": "1", "status": "failed"}) == []
    assert await ids(house, **{"metadata.n": "1", "agentId": "agent", "limit": "1"}) == [app["id"]]

    await house.client.delete(f"/v1/conversations/{app['conversationId']}")
    assert await ids(house, **{"metadata.n": "1"}) == [web["id"]]


async def test_a_value_that_no_database_keeps_is_refused(build: Build) -> None:
    house = await build(indexed_metadata="source")
    for query, param in (("user=%00", "user"), ("metadata.source=a%00b", "metadata.source")):
        answer = await house.client.get(f"/v1/executions?{query}")
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param
    assert await ids(house, **{"metadata.source": "x" * 5000}) == []


@pytest.mark.parametrize("keys", ["", "plan", "plan,source.x"])
async def test_a_key_that_is_not_indexed_is_refused_by_name(build: Build, keys: str) -> None:
    house = await build(indexed_metadata=keys)
    answer = await house.get("/v1/executions", **{"metadata.source": "web"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "metadata.source"
    assert f"keys of indexed_metadata: {keys.replace(',', ', ') or 'none'}." in error["message"]


@pytest.mark.parametrize("path", ["/v1/executions/{id}", "/v1/conversations/{conversationId}"])
async def test_what_is_deleted_leaves_neither_user_nor_indexed_metadata(
    build: Build, database: Database, path: str
) -> None:
    house = await build(indexed_metadata="source")
    body = {"input": "Hi", "user": "ann", "metadata": {"source": "web"}}
    gone, kept = [(await house.execute(body)).json() for _ in range(2)]
    answer = await house.client.delete(path.format(**gone))
    assert answer.status_code == 204
    left = "SELECT id FROM executions WHERE end_user = 'ann'"
    assert database.rows(left) == [(kept["id"],)]
    values = "SELECT name, value, execution_id FROM execution_metadata"
    assert database.rows(values) == [("source", "web", kept["id"])]
