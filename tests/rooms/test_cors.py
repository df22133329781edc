"""Calls from web pages of another origin: those that the setting names, and no other."""

import pytest

from outlast.web import EXPOSED
from tests.support.api import Api, MakeApi

pytestmark = pytest.mark.anyio
PAGE, OTHER = "https://app.example", "https://evil.example"
ALLOW = "access-control-allow-origin"


async def preflight(api: Api, origin: str) -> tuple[int, str | None, str]:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, idempotency-key",
    }
    answer = await api.client.options("/v1/agents/agent/execute", headers=headers)
    allowed = answer.headers.get("access-control-allow-headers", "")
    return answer.status_code, answer.headers.get(ALLOW), allowed


async def test_a_page_of_a_named_origin_may_call_and_reads_our_headers(make_api: MakeApi) -> None:
    api = await make_api(cors_origins=f"https://two.example, {PAGE}")
    status, origin, headers = await preflight(api, PAGE)
    assert (status, origin) == (200, PAGE)
    assert headers == "authorization, idempotency-key"
    answer = await api.execute({"input": "Hello"}, headers={"Origin": PAGE})
    assert answer.headers[ALLOW] == PAGE
    assert answer.headers["access-control-expose-headers"] == ", ".join(EXPOSED)
    refused = await api.client.get("/v1/nothing", headers={"Origin": PAGE})
    assert (refused.status_code, refused.headers[ALLOW]) == (404, PAGE)


async def test_no_other_origin_learns_anything(make_api: MakeApi) -> None:
    api = await make_api(cors_origins=PAGE)
    status, origin, _ = await preflight(api, OTHER)
    assert (status, origin) == (400, None)
    answer = await api.execute({"input": "Hello"}, headers={"Origin": OTHER})
    assert ALLOW not in answer.headers


async def test_without_the_setting_pages_of_other_origins_may_not_call(api: Api) -> None:
    status, origin, _ = await preflight(api, PAGE)
    assert (status, origin) == (405, None)
