"""Behind a proxy that serves it below a path, or inside another app, links lead back here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from outlast.model.error import Misconfigured
from outlast.settings import Settings
from outlast.web import refusing
from tests.support.api import Api, MakeApi

pytestmark = pytest.mark.anyio
BODY = {"input": "Hi", "background": True}


@asynccontextmanager
async def client_of(app: Any, api: Api, address: str = "127.0.0.1") -> AsyncIterator[Any]:
    transport = httpx2.ASGITransport(app, client=(address, 4711))
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://proxy", headers=api.headers
    ) as client:
        yield client


async def followed(client: Any, path: str, outside: str, **headers: str) -> None:
    """A run below a path answers with a `Location` that begins outside with `outside`."""
    ran = await client.post(f"{path}/v1/agents/agent/execute", json=BODY, headers=headers)
    execution = ran.json()["id"]
    assert ran.headers["location"] == f"{outside}/v1/executions/{execution}"
    task = await client.post(f"{path}/v1/execution", json={"name": "Import"}, headers=headers)
    identifier = task.json()["data"]["id"]
    assert task.headers["location"] == f"{outside}/v1/execution/{identifier}"

    servers = [{"url": outside}] if outside else None
    document = (await client.get(f"{path}/openapi.json", headers=headers)).json()
    assert document.get("servers") == servers
    page = await client.get(f"{path}/docs", headers=headers)
    assert f'href="{outside}/openapi.json"' in page.text
    start = (await client.get(f"{path}/", headers=headers)).json()
    assert (start["name"], start["docs"]) == ("Outlast", f"{outside}/docs")
    assert (await client.get(f"{path}/healthz", headers=headers)).status_code == 200


async def test_links_have_the_root_path_of_the_setting_whether_the_proxy_strips_it_or_not(
    make_api: MakeApi,
) -> None:
    api = await make_api(root_path="/tools/ai")
    async with client_of(api.app, api) as client:
        await followed(client, "", "/tools/ai")
        await followed(client, "/tools/ai", "/tools/ai")
        answer = await client.get("/tools/ai")
        assert answer.json()["docs"] == "/tools/ai/docs"


@pytest.mark.parametrize("sent", ["/ai", "/ai/", "/a.b/c_d"])
async def test_the_prefix_of_a_trusted_proxy_takes_the_place_of_the_setting(
    make_api: MakeApi, sent: str
) -> None:
    api = await make_api(root_path="/other")
    header = {"X-Forwarded-Prefix": sent}
    async with client_of(api.app, api) as client:
        await followed(client, "", sent.rstrip("/"), **header)
        await followed(client, sent.rstrip("/"), sent.rstrip("/"), **header)


@pytest.mark.parametrize(
    ("trusted", "address", "outside"),
    [
        ("127.0.0.1,::1", "10.0.0.7", ""),
        ("127.0.0.1,::1", "::1", "/ai"),
        ("10.0.0.0/8", "10.0.0.7", "/ai"),
        ("10.0.0.0/8", "127.0.0.1", ""),
        ("*", "203.0.113.9", "/ai"),
        ("", "127.0.0.1", ""),
        ("10.0.0.0/8", "testclient", ""),
    ],
)
async def test_the_prefix_of_a_stranger_counts_for_nothing(
    make_api: MakeApi, trusted: str, address: str, outside: str
) -> None:
    api = await make_api(trusted_proxies=trusted)
    async with client_of(api.app, api, address) as client:
        await followed(client, "", outside, **{"X-Forwarded-Prefix": "/ai"})


@pytest.mark.parametrize("sent", ["//evil.example", "ai", "/a b", "/a?b", "/a,/b", "/é"])
async def test_a_prefix_that_is_no_path_is_not_taken(make_api: MakeApi, sent: str) -> None:
    api = await make_api()
    async with client_of(api.app, api) as client:
        headers = [(b"x-forwarded-prefix", sent.encode("latin-1"))]
        ran = await client.post("/v1/agents/agent/execute", json=BODY, headers=headers)
        assert ran.headers["location"].startswith("/v1/executions/")


@pytest.mark.parametrize("prefix", ["/v1", "/api"])
async def test_a_prefix_that_our_own_paths_begin_with_is_taken_to_be_stripped(
    make_api: MakeApi, prefix: str
) -> None:
    api = await make_api(root_path=prefix)
    async with client_of(api.app, api) as client:
        await followed(client, "", prefix)
        assert (await client.get("/api/v1/executions")).status_code == 200


async def test_inside_another_app_links_have_the_path_of_the_mount(api: Api) -> None:
    outer = FastAPI()
    outer.mount("/ai", api.app)
    async with client_of(outer, api) as client:
        await followed(client, "/ai", "/ai")
        await followed(client, "/ai", "/shop/ai", **{"X-Forwarded-Prefix": "/shop"})
        missing = await client.get("/ai/api/v1/nothing")
        assert "feedback" in missing.json(), "the shape of the room below /api/v1"


@pytest.mark.parametrize(
    ("root_path", "path", "sent", "outside"),
    [
        ("", "", {}, ""),
        ("/ai", "", {}, "/ai"),
        ("/ai", "/ai", {}, "/ai"),
        ("", "", {"X-Forwarded-Prefix": "/shop"}, "/shop"),
    ],
)
async def test_an_error_of_records_links_to_the_documentation_outside(
    make_api: MakeApi, root_path: str, path: str, sent: dict[str, str], outside: str
) -> None:
    api = await make_api(root_path=root_path)
    async with client_of(api.app, api) as client:
        for place in ("/api/v1/executions?pageSize=0", "/api/v1/executions?pageNumber=x"):
            answer = await client.get(path + place, headers=sent)
            assert answer.json()["cta"] == {
                "type": "documentation",
                "url": f"{outside}/docs/errors/invalid_field_value",
            }


@pytest.mark.parametrize(
    ("root_path", "path", "sent"),
    [
        ("", "/readyz", {}),
        ("/ai", "/readyz", {}),
        ("/ai", "/ai/readyz", {}),
        ("", "/shop/healthz", {"X-Forwarded-Prefix": "/shop"}),
    ],
)
async def test_a_full_server_tells_of_its_health_behind_its_prefix_and_refuses_the_rest(
    make_api: MakeApi, root_path: str, path: str, sent: dict[str, str]
) -> None:
    api = await make_api(root_path=root_path)
    full = refusing(api.app, api.core.clock)
    async with client_of(full, api) as client:
        assert (await client.get(path, headers=sent)).status_code == 200
        place = f"{path.rpartition('/')[0]}/api/v1/executions"
        refused = await client.get(place, headers=sent)
        assert refused.status_code == 503
        assert "feedback" in refused.json(), "the shape of the room"


async def test_an_idempotency_key_holds_whichever_way_the_request_came(make_api: MakeApi) -> None:
    api = await make_api(root_path="/ai")
    async with client_of(api.app, api) as client:
        key = {"Idempotency-Key": "once"}
        first, again = [
            await client.post(f"{path}/v1/agents/agent/execute", json=BODY, headers=key)
            for path in ("", "/ai")
        ]
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("wrong", [{"root_path": "ai"}, {"root_path": "/ai/"}, {"root_path": "/"}])
def test_a_root_path_that_is_none_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match="OUTLAST_ROOT_PATH"):
        Settings(**wrong)  # type: ignore[arg-type]


def test_a_proxy_that_is_no_address_is_refused() -> None:
    with pytest.raises(Misconfigured, match=r"OUTLAST_TRUSTED_PROXIES.*'proxy\.local'"):
        Settings(trusted_proxies="127.0.0.1, proxy.local")
