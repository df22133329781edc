"""Saved views of the list of executions, over HTTP."""

from typing import Any

import pytest

from outlast.client import Client
from outlast.model.workspace import Scope
from outlast.store.saved_views import MOST_VIEWS
from outlast.testing import owner
from tests.support.api import Api, MakeApi

pytestmark = pytest.mark.anyio
FAILED = {"filter": "status:failed since:24h"}


async def listed(api: Api) -> list[tuple[str, str]]:
    answer = await api.get("/v1/views")
    assert answer.status_code == 200, answer.text
    return [(one["name"], one["filter"]) for one in answer.json()["data"]]


async def test_a_view_is_saved_replaced_listed_by_name_and_removed(api: Api) -> None:
    put = await api.client.put("/v1/views/What failed", json=FAILED)
    assert put.status_code == 200, put.text
    assert {**FAILED, "name": "What failed"}.items() < put.json().items()
    await api.client.put("/v1/views/Ärger heute", json={"filter": "agent:actor"})
    await api.client.put("/v1/views/What failed", json={"filter": "status:failed"})
    assert await listed(api) == [("What failed", "status:failed"), ("Ärger heute", "agent:actor")]
    for _ in range(2):
        assert (await api.client.delete("/v1/views/What failed")).status_code == 204
    assert await listed(api) == [("Ärger heute", "agent:actor")]


async def test_a_name_may_have_slashes_in_every_client(api: Api) -> None:
    async with Client("http://house", api.key, transport=api.client._transport) as client:
        assert (await client.put_view("shop/What failed?", "status:failed"))["filter"]
        assert await listed(api) == [("shop/What failed?", "status:failed")]
        await client.remove_view("shop/What failed?")
    assert await listed(api) == []


async def test_views_are_those_of_a_workspace_and_at_most_a_hundred(api: Api) -> None:
    other = await owner(api.core, "other")
    for number in range(MOST_VIEWS):
        await api.core.services.saved_views.put(other, f"view {number}", "status:failed")
    assert await listed(api) == []
    await api.client.put("/v1/views/view 7", json=FAILED)
    assert len(await api.core.services.saved_views.all(other)) == MOST_VIEWS

    for number in range(MOST_VIEWS - 1):
        await api.core.services.saved_views.put(api.caller, f"own {number}", "status:failed")
    full = await api.client.put("/v1/views/one more", json=FAILED)
    assert full.status_code == 409
    assert full.json()["error"]["code"] == "conflict"
    again = await api.client.put("/v1/views/view 7", json={"filter": "agent:actor"})
    assert again.status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("a", {}, 400),
        ("a", {"filter": ""}, 422),
        ("a", {"filter": "x" * 1001}, 422),
        ("a", {"filter": 7}, 422),
        ("a", {"filter": "status:odd"}, 422),
        ("a", {"filter": "agent:actor cost:>1"}, 422),
        ("x" * 65, FAILED, 422),
        ("a%00b", FAILED, 404),
        ("a%2F%2E%2E%2Fb", FAILED, 422),
        ("%2Fa", FAILED, 422),
    ],
)
async def test_what_is_no_view_is_refused_and_saves_nothing(
    api: Api, path: str, body: dict[str, Any], status: int
) -> None:
    answer = await api.client.put(f"/v1/views/{path}", json=body)
    assert answer.status_code == status, answer.text
    if ":" in str(body.get("filter")) and body != FAILED:
        assert answer.json()["error"]["param"] == "filter"
        assert answer.json()["error"]["message"].startswith("The filter cannot be read: ")
    assert await listed(api) == []


async def test_a_key_that_only_reads_changes_no_view(make_api: MakeApi) -> None:
    api = await make_api(scopes=frozenset({Scope.EXECUTIONS_READ}))
    assert (await api.client.put("/v1/views/a", json=FAILED)).status_code == 403
    assert (await api.client.delete("/v1/views/a")).status_code == 403
    assert await listed(api) == []
