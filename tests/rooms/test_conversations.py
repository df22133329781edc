"""The list of conversations over HTTP."""

from typing import Any

import pytest

from outlast.model.workspace import Scope
from outlast.testing import FakeClock
from tests.rooms.conftest import Build
from tests.rooms.house import House

pytestmark = pytest.mark.anyio


async def made(house: House, **body: Any) -> str:
    execution = (await house.execute({"input": "Hi", **body})).json()
    return str(execution["conversationId"])


async def test_conversations_are_listed_newest_activity_first_and_paged(build: Build) -> None:
    clock = FakeClock()
    house = await build(clock=clock)
    old = await made(house)
    clock.advance(1)
    young = await made(house)
    clock.advance(1)
    await made(house, conversationId=old)

    whole = (await house.get("/v1/conversations")).json()
    assert [one["id"] for one in whole["data"]] == [old, young]
    assert (whole["hasMore"], whole["nextCursor"]) == (False, None)
    summary = whole["data"][0]
    assert (summary["agentName"], summary["executionCount"]) == ("agent", 2)
    assert summary["lastActiveAt"] == "2026-02-25T06:13:22.000Z"
    assert summary["agentId"] == (await house.get("/v1/agents/agent")).json()["id"]

    first = (await house.get("/v1/conversations", limit=1)).json()
    assert (len(first["data"]), first["hasMore"]) == (1, True)
    second = (await house.get("/v1/conversations", limit=1, after=first["nextCursor"])).json()
    assert [one["id"] for one in second["data"]] == [young]
    assert not second["hasMore"]


async def test_conversations_are_listed_by_agent_and_deleted_ones_not_at_all(
    house: House,
) -> None:
    kept, gone = await made(house), await made(house)
    await house.client.delete(f"/v1/conversations/{gone}")
    for agent in ("agent", (await house.get("/v1/agents/agent")).json()["id"]):
        found = (await house.get("/v1/conversations", agentId=agent)).json()["data"]
        assert [one["id"] for one in found] == [kept]
    assert (await house.get("/v1/conversations", user="ann")).json()["data"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("agentId", "nobody"),
        ("after", "conv_01k6zj3t7hf2a9q1x5m8r4c0vc"),
        ("after", "1.conv_no"),
        ("after", "-1.conv_01k6zj3t7hf2a9q1x5m8r4c0vc"),
        ("after", "9999999999999999999.conv_01k6zj3t7hf2a9q1x5m8r4c0vc"),
        ("limit", "0"),
        ("limit", "101"),
        ("user", "a\0b"),
    ],
)
async def test_a_filter_that_cannot_be_is_refused_by_name(
    house: House, name: str, value: str
) -> None:
    answer = await house.get("/v1/conversations", **{name: value})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == name


async def test_a_key_that_may_not_read_sees_no_conversations(build: Build) -> None:
    house = await build(scopes=frozenset({Scope.AGENTS_EXECUTE}))
    assert (await house.get("/v1/conversations")).status_code == 403
