"""Memory stores over HTTP: who may do what, what is refused, and how pages go."""

from dataclasses import replace
from typing import Any

import httpx2
import pytest

from outlast.engine.maintenance.pending_vectors import EMBED
from outlast.model.retention import Plans
from outlast.model.workspace import USUAL_LIMITS, MemoryLimits, Plan, Scope
from tests.support.api import Api, MakeApi
from tests.support.embeddings import EmbeddingProvider

pytestmark = pytest.mark.anyio

PATH = "/v1/memory-stores"
NOTHING: dict[str, Any] = {"data": [], "mode": "text", "warning": None}


def refusal(answer: httpx2.Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


async def made(api: Api, **more: Any) -> str:
    answer = await api.client.post(PATH, json={"name": "notes"} | more)
    assert answer.status_code == 201, answer.text
    return f"{PATH}/{answer.json()['id']}"


async def put(api: Api, store: str, key: str, content: str, **headers: str) -> httpx2.Response:
    return await api.client.put(f"{store}/items/{key}", json={"content": content}, headers=headers)


async def by(api: Api, *scopes: Scope, workspace: str | None = None) -> dict[str, str]:
    owner = workspace or api.caller.workspace_id
    key = await api.core.services.keys.create(owner, "some", frozenset(scopes))
    return {"Authorization": f"Bearer {key.secret}"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, (400, "missing_required_field", "name")),
        ({"name": ""}, (422, "invalid_field_value", "name")),
        ({"name": "n" * 256}, (422, "invalid_field_value", "name")),
        ({"name": "n", "description": "d" * 1025}, (422, "invalid_field_value", "description")),
        ({"name": "n", "metadata": {"a": 1}}, (422, "invalid_field_value", "metadata.a")),
        (
            {"name": "n", "metadata": {str(n): "" for n in range(17)}},
            (422, "invalid_field_value", "metadata"),
        ),
    ],
)
async def test_a_store_that_cannot_be_is_refused_by_its_field(
    api: Api, body: dict[str, Any], expected: tuple[int, str, str]
) -> None:
    assert refusal(await api.client.post(PATH, json=body)) == expected


@pytest.mark.parametrize(
    "key",
    ["a//b", "a/", "./a", "a/..", "%00", "k" * 1025, "%EF%BF%BF", "%F4%8F%BF%BF"],
)
async def test_a_key_that_cannot_be_is_refused(api: Api, key: str) -> None:
    store = await made(api)
    path = f"{store}/items/{key}".replace("/./", "/%2E/").replace("/..", "/%2E%2E")
    answer = await api.client.put(path, json={"content": "x"})
    assert refusal(answer) == (422, "invalid_field_value", "key")
    assert (await api.get(f"{store}/items")).json()["data"] == []


async def test_a_key_has_one_spelling_however_it_is_sent(api: Api) -> None:
    store = await made(api)
    spellings = ("caf%C3%A9/a b", "cafe%CC%81/a%20b", "/café/a b", "caf%C3%A9%2Fa b")
    answers = [await put(api, store, key, "x") for key in spellings]
    assert [answer.status_code for answer in answers] == [201, 200, 200, 200]
    assert {answer.json()["key"] for answer in answers} == {"café/a b"}


async def test_a_content_is_as_large_as_its_bytes(api: Api) -> None:
    store = await made(api)
    assert (await put(api, store, "k", "é" * 51_200)).status_code == 201
    refused = await put(api, store, "k", "é" * 51_200 + "x")
    assert refusal(refused) == (422, "invalid_field_value", "content")
    empty = await put(api, store, "empty", "")
    assert (empty.status_code, empty.json()["bytes"]) == (201, 0)
    odd = await api.client.put(f"{store}/items/odd", content=b'{"content":"a\\u0000b"}')
    assert refusal(odd) == (422, "invalid_field_value", "content")  # as in every body


async def test_an_items_etag_is_its_digest_and_guards_every_write(api: Api) -> None:
    store = await made(api)
    first = await put(api, store, "k", "one")
    tag = first.headers["etag"]
    assert (
        tag == f'"{first.json()["sha256"]}"' == (await api.get(f"{store}/items/k")).headers["etag"]
    )
    second = await put(api, store, "k", "two", **{"If-Match": f'"other", W/{tag}'})
    assert second.status_code == 200
    for headers in ({"If-Match": tag}, {"If-Match": '""'}, {"If-None-Match": "*"}):
        answer = await put(api, store, "k", "three", **headers)
        assert refusal(answer) == (412, "precondition_failed", None)
    body, headers = {"content": "three"}, {"If-Match": tag}
    changed = await api.client.patch(f"{store}/items/k", json=body, headers=headers)
    assert refusal(changed) == (412, "precondition_failed", None)
    headers = {"If-Match": second.headers["etag"]}
    changed = await api.client.patch(f"{store}/items/k", json={"content": "two"}, headers=headers)
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    removed = await api.client.delete(f"{store}/items/k", headers={"If-Match": tag})
    assert removed.status_code == 412
    assert (await put(api, store, "k", "two", **{"If-Match": tag})).json() == second.json()
    for name, value in (("If-Match", "one"), ("If-None-Match", '"a"'), ("If-Match", '"a')):
        answer = await put(api, store, "k", "x", **{name: value})
        assert refusal(answer) == (400, "invalid_request", name)


async def test_a_change_of_what_is_not_there_makes_nothing(api: Api) -> None:
    store = await made(api)
    answer = await api.client.patch(f"{store}/items/k", json={"content": "x"})
    assert refusal(answer) == (404, "memory_item_not_found", None)
    await put(api, store, "k", "x")
    same = await api.client.patch(f"{store}/items/k", json={})
    assert (same.status_code, same.json()["version"]) == (200, 1)


async def test_an_item_named_versions_is_an_item(api: Api) -> None:
    store = await made(api)
    for key in ("versions", "a/versions", "a/b/versions"):
        assert (await put(api, store, key, key)).status_code == 201
        assert (await api.get(f"{store}/items/{key}")).json()["content"] == key
    item_id = (await api.get(f"{store}/items/a/versions")).json()["id"]
    assert (await api.get(f"{store}/items/{item_id}/versions")).json()["data"][0]["version"] == 1
    like_an_id = await put(api, store, "item_01k6zj3t7hf2a9q1x5m8r4c0vb", "x")
    assert refusal(like_an_id) == (404, "memory_item_not_found", None)


async def test_lists_page_by_key_and_show_contents_where_requested(api: Api) -> None:
    store = await made(api)
    keys = [f"k{number}" for number in range(5)]
    for key in keys:
        await put(api, store, key, "x" * 100)
    seen: list[str] = []
    after = ""
    while True:
        page = (await api.get(f"{store}/items", limit=2, after=after)).json()
        assert all("content" not in item for item in page["data"])
        seen += [item["key"] for item in page["data"]]
        if not page["hasMore"]:
            break
        after = page["nextCursor"]
    assert (seen, page["nextCursor"]) == (keys, None)
    full = (await api.get(f"{store}/items", full="true", prefix="k1")).json()["data"]
    assert [item["content"] for item in full] == ["x" * 100]


async def test_a_cursor_with_a_nul_character_is_refused(api: Api) -> None:
    store = await made(api)
    for path in (f"{store}/items", "/v1/budgets"):
        answer = await api.client.get(f"{path}?after=a%00b")
        assert refusal(answer) == (400, "invalid_field_value", "after")


async def test_versions_page_from_the_newest_and_outlive_their_item_until_they_are_purged(
    api: Api,
) -> None:
    store = await made(api)
    item_id = ""
    for number in range(4):
        item_id = (await put(api, store, "k", str(number))).json()["id"]
    await api.client.delete(f"{store}/items/k")
    path = f"{store}/items/{item_id}/versions"
    page = (await api.get(path, limit=2)).json()
    assert [(one["version"], one["content"]) for one in page["data"]] == [(5, None), (4, "3")]
    rest = (await api.get(path, after=page["nextCursor"])).json()
    assert [one["content"] for one in rest["data"]] == ["2", "1", "0"]
    assert rest["data"][0]["writtenBy"]["keyId"] == api.caller.key_id
    again = (await put(api, store, "k", "new")).json()["id"]
    purged = await api.client.delete(f"{store}/items/{again}?purge=true")
    assert purged.status_code == 204
    gone = await api.get(f"{store}/items/{again}/versions")
    assert refusal(gone) == (404, "memory_item_not_found", None)


async def test_a_version_is_redacted_for_good(api: Api) -> None:
    store = await made(api)
    item_id = (await put(api, store, "k", "secret")).json()["id"]
    await put(api, store, "k", "fine")
    path = f"{store}/items/{item_id}/versions"
    held = await api.client.post(f"{path}/2/redact")
    assert refusal(held) == (409, "conflict", None)
    for odd in ("3", "0", "x", "-1", "1" * 30):
        answer = await api.client.post(f"{path}/{odd}/redact")
        assert refusal(answer) == (404, "memory_item_not_found", None)
    reader = await by(api, Scope.EXECUTIONS_READ)
    assert (await api.client.post(f"{path}/1/redact", headers=reader)).status_code == 403
    redacted = (await api.client.post(f"{path}/1/redact")).json()
    assert (redacted["content"], redacted["sha256"], redacted["version"]) == (None, "", 1)
    assert redacted["redactedAt"] is not None
    assert redacted["writtenBy"]["keyId"] == api.caller.key_id
    listed = (await api.get(path)).json()["data"]
    assert [(one["content"], one["redactedAt"]) for one in listed] == [
        ("fine", None),
        (None, redacted["redactedAt"]),
    ]


@pytest.mark.parametrize(
    "query", ['"', "*", "AND", "NEAR(", "🎉", "قهوة", "東京", "\\", "x" * 10_240]
)
async def test_any_text_is_a_query(api: Api, query: str) -> None:
    store = await made(api)
    answer = await api.client.post(f"{store}/search", json={"query": query})
    assert (answer.status_code, answer.json()) == (200, NOTHING)


async def test_a_search_is_bounded(api: Api) -> None:
    store = await made(api)
    for body, param in (
        ({}, "query"),
        ({"query": "x" * 16_385}, "query"),
        ({"query": "x", "limit": 51}, "limit"),
        ({"query": "x", "limit": 0}, "limit"),
        ({"query": "x", "prefix": "p" * 1025}, "prefix"),
        ({"query": 5}, "query"),
    ):
        answer = await api.client.post(f"{store}/search", json=body)
        assert answer.status_code in (400, 422)
        assert answer.json()["error"]["param"] == param


async def test_a_store_of_another_workspace_is_not_there(api: Api) -> None:
    store = await made(api)
    await put(api, store, "k", "x")
    other = await api.core.services.workspaces.put("other")
    headers = await by(api, *Scope, workspace=other.id)
    for method, path, body in (
        ("GET", store, None),
        ("PATCH", store, {"name": "mine"}),
        ("DELETE", store, None),
        ("POST", f"{store}/search", {"query": "x"}),
        ("GET", f"{store}/items", None),
        ("GET", f"{store}/items/k", None),
        ("PUT", f"{store}/items/k", {"content": "y"}),
        ("PATCH", f"{store}/items/k", {"content": "y"}),
        ("DELETE", f"{store}/items/k", None),
    ):
        answer = await api.client.request(method, path, json=body, headers=headers)
        assert refusal(answer) == (404, "memory_store_not_found", None), (method, path)
    assert (await api.client.get(PATH, headers=headers)).json()["data"] == []
    assert (await api.get(f"{store}/items/k")).json()["content"] == "x"


async def test_who_reads_executions_reads_memory_and_does_not_write_it(api: Api) -> None:
    store = await made(api)
    reader = await by(api, Scope.EXECUTIONS_READ)
    assert (await api.client.get(store, headers=reader)).status_code == 200
    written = await api.client.put(f"{store}/items/k", json={"content": "x"}, headers=reader)
    assert refusal(written) == (403, "insufficient_scope", None)
    runner = await by(api, Scope.AGENTS_EXECUTE)
    assert (await api.client.get(f"{store}/items", headers=runner)).status_code == 200
    written = await api.client.put(f"{store}/items/k", json={"content": "x"}, headers=runner)
    assert written.status_code == 201


async def test_a_store_holds_what_the_plan_of_its_workspace_allows(make_api: MakeApi) -> None:
    of = {Plan.STARTER: MemoryLimits(2, 10), Plan.PROFESSIONAL: MemoryLimits(3, 20)}
    plans = replace(Plans(), default=Plan.STARTER, memory=dict(USUAL_LIMITS) | of)
    api = await make_api(plans=plans)
    store = await made(api)
    assert (await put(api, store, "a", "12345")).status_code == 201
    assert (await put(api, store, "b", "12345")).status_code == 201
    for key, content in (("c", ""), ("a", "123456")):
        refused = await put(api, store, key, content)
        assert refusal(refused) == (409, "memory_store_full", None)
        assert "the plan starter allows" in refused.json()["error"]["message"]
    assert (await put(api, store, "a", "1")).status_code == 200
    await api.core.store.workspaces.set_plan(api.caller.workspace_id, Plan.PROFESSIONAL, None)
    assert (await put(api, store, "c", "1234567890")).status_code == 201
    assert refusal(await put(api, store, "d", ""))[1] == "memory_store_full"
    await api.core.store.workspaces.set_plan(api.caller.workspace_id, Plan.STARTER, None)
    assert (await put(api, store, "c", "123456789")).status_code == 200
    assert refusal(await put(api, store, "c", "1234567890"))[1] == "memory_store_full"


async def test_an_execution_shows_its_stores_as_it_was_given_them(api: Api) -> None:
    first, second = [(await made(api)).removeprefix(f"{PATH}/") for _ in range(2)]
    given = [first, {"id": second, "access": "read_only"}]
    for body in ({"memoryStores": given}, {"memoryStores": given, "stream": False}):
        answer = await api.execute({"input": "Hi"} | body)
        assert (answer.status_code, answer.json()["memoryStores"]) == (200, given)
        execution_id = answer.json()["id"]
        shown = (await api.get(f"/v1/executions/{execution_id}")).json()
        assert shown["memoryStores"] == given
        listed = (await api.get("/v1/executions")).json()["data"][0]
        assert listed["memoryStores"] == given
    plain = await api.execute({"input": "Hi", "memoryStores": []})
    assert "memoryStores" not in plain.json()


async def test_an_execution_and_a_schedule_have_eight_stores_and_no_ninth(api: Api) -> None:
    stores = [(await made(api, name=f"n{n}")).removeprefix(f"{PATH}/") for n in range(9)]
    schedule = {"agentId": "agent", "cron": "0 9 * * *", "memoryStores": stores[:8]}
    eight = await api.execute({"input": "Hi", "memoryStores": stores[:8]})
    assert (eight.status_code, eight.json()["memoryStores"]) == (200, stores[:8])
    assert (await api.client.post("/v1/schedules", json=schedule)).status_code == 201
    schedule |= {"memoryStores": stores}
    for answer in (
        await api.execute({"input": "Hi", "memoryStores": stores}),
        await api.client.post("/v1/schedules", json=schedule),
    ):
        assert refusal(answer) == (422, "invalid_field_value", "memoryStores")
    assert len((await api.get("/v1/executions")).json()["data"]) == 1


async def test_stores_that_an_execution_cannot_have_are_named_by_their_place(api: Api) -> None:
    store = (await made(api)).removeprefix(f"{PATH}/")
    other = await api.core.services.workspaces.put("other")
    headers = await by(api, *Scope, workspace=other.id)
    created = await api.client.post(PATH, json={"name": "theirs"}, headers=headers)
    foreign = created.json()["id"]
    archived = await made(api)
    await api.client.patch(archived, json={"archived": True})
    missing = (404, "memory_store_not_found")
    invalid = (422, "invalid_field_value")
    for stores, expected in (
        ([store, "mem_1"], (*missing, "memoryStores.1")),
        (["mem_01k6zj3t7hf2a9q1x5m8r4c0vb"], (*missing, "memoryStores.0")),
        ([store, {"id": foreign}], (*missing, "memoryStores.1")),
        ([archived.removeprefix(f"{PATH}/")], (409, "memory_store_archived", "memoryStores.0")),
        ([store, store], (*invalid, "memoryStores.1")),
        ([store] * 9, (*invalid, "memoryStores")),
    ):
        for more in ({}, {"stream": True}, {"background": True}):
            answer = await api.execute({"input": "Hi", "memoryStores": stores} | more)
            assert refusal(answer) == expected
    for wrong in (5, [5], [{"access": "read_only"}], [{"id": store, "access": "write"}]):
        answer = await api.execute({"input": "Hi", "memoryStores": wrong})
        assert answer.status_code in (400, 422), answer.text
        assert answer.json()["error"]["param"].startswith("memoryStores")
    assert (await api.get("/v1/executions")).json()["data"] == []


async def test_a_store_with_an_embedding_model_is_searched_in_three_modes(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with EmbeddingProvider() as provider:
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        store = await made(api, embedding="openai-embeddings:small")
        state = {"model": "openai-embeddings:small", "dimensions": None, "pending": 0}
        assert (await api.get(store)).json()["embedding"] == state | {"error": None}
        await put(api, store, "rex", "A hound")
        await put(api, store, "anna", "Eats tofu")
        listed = (await api.get(PATH)).json()["data"][0]
        assert listed["embedding"]["pending"] == 2
        await api.core.maintenance.run(EMBED)
        answers = {}
        for mode in ("text", "semantic", "hybrid", None):
            body = {"query": "puppy"} | ({"mode": mode} if mode else {})
            answer = await api.client.post(f"{store}/search", json=body)
            assert answer.status_code == 200
            answers[mode] = answer.json()
        assert answers["text"] == NOTHING
        best = answers["semantic"]["data"][0]
        assert (best["key"], best["content"], best["foundBy"]) == ("rex", "A hound", ["semantic"])
        assert best["similarity"] == pytest.approx(1.0)
        assert answers[None] == answers["hybrid"]
        provider.status = 503
        failed = await api.client.post(
            f"{store}/search", json={"query": "puppy", "mode": "semantic"}
        )
        assert refusal(failed) == (502, "model_unavailable", None)
        words = (await api.client.post(f"{store}/search", json={"query": "hound"})).json()
        assert [item["key"] for item in words["data"]] == ["rex"]
        assert "503" in words["warning"]
        changed = await api.client.patch(store, json={"embedding": "openai-embeddings:other"})
        assert changed.json()["embedding"]["model"] == "openai-embeddings:small"
        outsider = await by(api, Scope.EXECUTIONS_READ, workspace=await other_workspace(api))
        hidden = await api.client.post(
            f"{store}/search", json={"query": "x", "mode": "semantic"}, headers=outsider
        )
        assert refusal(hidden)[:2] == (404, "memory_store_not_found")


async def other_workspace(api: Api) -> str:
    return (await api.core.services.workspaces.put("others")).id


@pytest.mark.parametrize("embedding", ["", "small", "nowhere:small", "local:gpt", "x" * 256, 5])
async def test_an_embedding_model_that_cannot_be_is_refused(api: Api, embedding: Any) -> None:
    answer = await api.client.post(PATH, json={"name": "n", "embedding": embedding})
    assert refusal(answer) == (422, "invalid_field_value", "embedding")


async def test_a_mode_that_cannot_be_is_refused(api: Api) -> None:
    store = await made(api)
    for mode in ("semantic", "hybrid", "fuzzy", ""):
        answer = await api.client.post(f"{store}/search", json={"query": "x", "mode": mode})
        assert refusal(answer) == (422, "invalid_field_value", "mode")
