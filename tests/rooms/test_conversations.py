"""The list of conversations over HTTP."""

from typing import Any

import pytest

from outlast.model.workspace import Scope
from outlast.testing import FakeClock
from tests.support.api import Api, MakeApi

pytestmark = pytest.mark.anyio


async def made(api: Api, **body: Any) -> str:
    execution = (await api.execute({"input": "Hi", **body})).json()
    return str(execution["conversationId"])


async def test_conversations_are_listed_newest_activity_first_and_paged(make_api: MakeApi) -> None:
    clock = FakeClock()
    api = await make_api(clock=clock)
    old = await made(api)
    clock.advance(1)
    young = await made(api)
    clock.advance(1)
    await made(api, conversationId=old)

    whole = (await api.get("/v1/conversations")).json()
    assert [one["id"] for one in whole["data"]] == [old, young]
    assert (whole["hasMore"], whole["nextCursor"]) == (False, None)
    summary = whole["data"][0]
    assert (summary["agentName"], summary["executionCount"]) == ("agent", 2)
    assert summary["lastActiveAt"] == "2026-02-25T06:13:22.000Z"
    assert summary["agentId"] == (await api.get("/v1/agents/agent")).json()["id"]

    first = (await api.get("/v1/conversations", limit=1)).json()
    assert (len(first["data"]), first["hasMore"]) == (1, True)
    second = (await api.get("/v1/conversations", limit=1, after=first["nextCursor"])).json()
    assert [one["id"] for one in second["data"]] == [young]
    assert not second["hasMore"]


async def test_conversations_are_listed_by_agent_and_deleted_ones_not_at_all(
    api: Api,
) -> None:
    kept, gone = await made(api), await made(api)
    await api.client.delete(f"/v1/conversations/{gone}")
    for agent in ("agent", (await api.get("/v1/agents/agent")).json()["id"]):
        found = (await api.get("/v1/conversations", agentId=agent)).json()["data"]
        assert [one["id"] for one in found] == [kept]
    assert (await api.get("/v1/conversations", user="ann")).json()["data"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("agentId", "unknown"),
        ("after", "conv_01k6zj3t7hf2a9q1x5m8r4c0vc"),
        ("after", "1.conv_no"),
        ("after", "-1.conv_01k6zj3t7hf2a9q1x5m8r4c0vc"),
        ("after", "9999999999999999999.conv_01k6zj3t7hf2a9q1x5m8r4c0vc"),
        ("limit", "0"),
        ("limit", "101"),
        ("user", "a\0b"),
    ],
)
async def test_a_filter_that_cannot_be_is_refused_by_name(api: Api, name: str, value: str) -> None:
    answer = await api.get("/v1/conversations", **{name: value})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == name


async def test_a_key_that_may_not_read_sees_no_conversations(make_api: MakeApi) -> None:
    api = await make_api(scopes=frozenset({Scope.AGENTS_EXECUTE}))
    assert (await api.get("/v1/conversations")).status_code == 403
