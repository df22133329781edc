"""Calls from web pages of another origin: those that the setting names, and no other."""

import pytest

from outlast.web import EXPOSED
from tests.rooms.conftest import Build
from tests.rooms.house import House

pytestmark = pytest.mark.anyio
PAGE, OTHER = "https://app.example", "https://evil.example"
ALLOW = "access-control-allow-origin"


async def preflight(house: House, origin: str) -> tuple[int, str | None, str]:
    headers = {
        "RequestContext": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, idempotency-key",
    }
    answer = await house.client.options("/v1/agents/agent/execute", headers=headers)
    allowed = answer.headers.get("access-control-allow-headers", "")
    return answer.status_code, answer.headers.get(ALLOW), allowed


async def test_a_page_of_a_named_origin_may_call_and_reads_our_headers(build: Build) -> None:
    house = await build(cors_origins=f"https://two.example, {PAGE}")
    status, origin, headers = await preflight(house, PAGE)
    assert (status, origin) == (200, PAGE)
    assert headers == "authorization, idempotency-key"
    answer = await house.execute({"input": "Hello"}, headers={"RequestContext": PAGE})
    assert answer.headers[ALLOW] == PAGE
    assert answer.headers["access-control-expose-headers"] == ", ".join(EXPOSED)
    refused = await house.client.get("/v1/nothing", headers={"RequestContext": PAGE})
    assert (refused.status_code, refused.headers[ALLOW]) == (404, PAGE)


async def test_no_other_origin_is_told_anything(build: Build) -> None:
    house = await build(cors_origins=PAGE)
    status, origin, _ = await preflight(house, OTHER)
    assert (status, origin) == (400, None)
    answer = await house.execute({"input": "Hello"}, headers={"RequestContext": OTHER})
    assert ALLOW not in answer.headers


async def test_without_the_setting_pages_of_other_origins_may_not_call(house: House) -> None:
    status, origin, _ = await preflight(house, PAGE)
    assert (status, origin) == (405, None)
