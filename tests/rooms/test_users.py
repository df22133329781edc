"""End users and metadata of executions: kept, shown, filtered by, passed to tools."""

from typing import Any

import pytest

from tests.support.api import Api, MakeApi
from tests.support.databases import Database
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool

pytestmark = pytest.mark.anyio
LONGEST = "\U0001f600" * 256


async def ids(api: Api, path: str = "/v1/executions", **filters: str) -> list[str]:
    answer = await api.get(path, **filters)
    assert answer.status_code == 200, answer.text
    assert "outlast-warning" not in answer.headers
    return [one["id"] for one in answer.json()["data"]]


async def test_the_user_is_kept_with_execution_and_conversation_and_lists_filter_by_it(
    api: Api,
) -> None:
    ann = (await api.execute({"input": "Hi", "user": "ann"})).json()
    bob = (await api.execute({"input": "Hi", "user": LONGEST})).json()
    none = (await api.execute({"input": "Hi"})).json()
    assert [one["user"] for one in (ann, bob, none)] == ["ann", LONGEST, None]
    assert await ids(api, user="ann") == [ann["id"]]
    assert await ids(api, user=LONGEST) == [bob["id"]]
    assert await ids(api, user="eve") == []
    assert await ids(api, "/v1/conversations", user="ann") == [ann["conversationId"]]
    record = (await api.get(f"/api/v1/executions/{ann['id']}")).json()
    assert record["detail"]["user"] == "ann"


async def test_a_later_turn_has_the_conversation_s_user_unless_it_names_its_own(
    api: Api,
) -> None:
    first = (await api.execute({"input": "Hi", "user": "ann"})).json()
    conversation = first["conversationId"]
    same = (await api.execute({"input": "Hi", "conversationId": conversation})).json()
    other = (
        await api.execute({"input": "Hi", "conversationId": conversation, "user": "bob"})
    ).json()
    assert (same["user"], other["user"]) == ("ann", "bob")
    assert await ids(api, user="ann") == [same["id"], first["id"]]
    assert await ids(api, "/v1/conversations", user="ann") == [conversation]
    assert await ids(api, "/v1/conversations", user="bob") == []


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
    api: Api, path: str, body: dict[str, Any], param: str
) -> None:
    whole = {"input": "Hi", "messages": [{"role": "user", "content": "Hi"}], **body}
    answer = await api.client.post(path, json=whole)
    assert answer.status_code in (400, 422)
    if path.startswith("/v1"):
        assert answer.json()["error"]["param"] == param
    assert await ids(api) == []


async def test_a_tool_learns_user_metadata_and_forwarded_headers(make_api: MakeApi) -> None:
    tools = FakeTools(look=lambda _: "seen")
    model = FakeModel(by_turn([call(1, "look")], ["Done"]))
    api = await make_api(model, spec(tool("look")), tools)
    body = {
        "input": "Hi",
        "user": "ann",
        "metadata": {"source": "web"},
        "forwardedHeaders": {"X-Tenant": "acme"},
    }
    execution = (await api.execute(body)).json()
    context = tools.context
    assert context is not None
    assert (context.user, context.metadata) == ("ann", {"source": "web"})
    assert context.headers == {"X-Tenant": "acme"}
    assert "acme" not in str(execution)

    messages = [{"role": "user", "content": "Hi"}]
    run = {"messages": messages, "user": "bob", "metadata": {"source": "chat"}}
    await api.client.post("/run/api/executions", json=run)
    assert tools.context is not None
    assert (tools.context.user, tools.context.metadata) == ("bob", {"source": "chat"})


async def test_lists_filter_by_the_metadata_that_the_operator_names(make_api: MakeApi) -> None:
    api = await make_api(indexed_metadata="source, plan,vip,n")
    web = (await api.execute({"input": "Hi", "metadata": {"source": "web-chat", "n": 1}})).json()
    app = (
        await api.execute(
            {"input": "Hi", "metadata": {"source": "app", "plan": "ü&=", "vip": True, "n": 1}}
        )
    ).json()
    await api.execute({"input": "Hi", "metadata": {"source": ["web-chat"], "other": "x"}})
    await api.execute({"input": "Hi", "metadata": {"source": "x" * 300, "plan": None}})
    assert await ids(api, **{"metadata.source": "web-chat"}) == [web["id"]]
    assert await ids(api, **{"metadata.plan": "ü&="}) == [app["id"]]
    assert await ids(api, **{"metadata.vip": "true", "metadata.n": "1"}) == [app["id"]]
    assert await ids(api, **{"metadata.n": "1"}) == [app["id"], web["id"]]
    assert await ids(api, **{"metadata.n": "1", "after": app["id"]}) == [web["id"]]
    assert await ids(api, **{"metadata.n": "1", "before": web["id"]}) == [app["id"]]
    assert await ids(api, **{"metadata.n": "1", "status": "failed"}) == []
    assert await ids(api, **{"metadata.n": "1", "agentId": "agent", "limit": "1"}) == [app["id"]]

    await api.client.delete(f"/v1/conversations/{app['conversationId']}")
    assert await ids(api, **{"metadata.n": "1"}) == [web["id"]]


async def test_a_value_that_no_database_keeps_is_refused(make_api: MakeApi) -> None:
    api = await make_api(indexed_metadata="source")
    for query, param in (("user=%00", "user"), ("metadata.source=a%00b", "metadata.source")):
        answer = await api.client.get(f"/v1/executions?{query}")
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == param
    assert await ids(api, **{"metadata.source": "x" * 5000}) == []


@pytest.mark.parametrize("keys", ["", "plan", "plan,source.x"])
async def test_a_key_that_is_not_indexed_is_refused_by_name(make_api: MakeApi, keys: str) -> None:
    api = await make_api(indexed_metadata=keys)
    answer = await api.get("/v1/executions", **{"metadata.source": "web"})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "metadata.source"
    assert f"keys of indexed_metadata: {keys.replace(',', ', ') or 'none'}." in error["message"]


@pytest.mark.parametrize("path", ["/v1/executions/{id}", "/v1/conversations/{conversationId}"])
async def test_what_is_deleted_leaves_neither_user_nor_indexed_metadata(
    make_api: MakeApi, database: Database, path: str
) -> None:
    api = await make_api(indexed_metadata="source")
    body = {"input": "Hi", "user": "ann", "metadata": {"source": "web"}}
    gone, kept = [(await api.execute(body)).json() for _ in range(2)]
    answer = await api.client.delete(path.format(**gone))
    assert answer.status_code == 204
    left = "SELECT id FROM executions WHERE end_user = 'ann'"
    assert database.rows(left) == [(kept["id"],)]
    values = "SELECT name, value, execution_id FROM execution_metadata"
    assert database.rows(values) == [("source", "web", kept["id"])]
