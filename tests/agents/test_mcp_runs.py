"""Runs of agents with MCP servers: what is offered, approved with other arguments, and refused."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx2
import pytest

import outlast
from outlast.embedded import Embedded
from tests.support.databases import SQLITE
from tests.support.http_tools import answer
from tests.support.mcp_http import SessionServer, session_server

pytestmark = [pytest.mark.anyio, pytest.mark.only(SQLITE)]

BOUND: Final = 60.0
SCRIPT: Final = """
turns:
  - when: none
    steps: [{tool_calls: [{name: shop__none, parameters: {}}]}, {text: "{result}"}]
  - steps: [{tool_calls: [{name: shop__act, parameters: {n: 1}}]}, {text: "{result}"}]
"""
FILE: Final = """
from outlast import Agent, Context, agent, mcp_tools

shop = mcp_tools("shop", url="URL")
asking = mcp_tools("shop", url="URL", approval=True)
asks = Agent("asks", model="scripted:script.yaml", tools=asking)
plain = Agent("plain", model="scripted:script.yaml", tools=shop)


@agent(model="scripted:script.yaml", tools=shop)
async def coded(ctx: Context, given: str) -> str:
    names = " ".join(tool.name for tool in ctx.tools)
    return f"{names} {await ctx.tool('shop__act', n=7)}"


agents = [asks, plain, coded]
"""
SCHEMA: Final = {"type": "object", "properties": {"n": {"type": "integer"}}}


@pytest.fixture
async def shop() -> AsyncIterator[SessionServer]:
    async with session_server() as server:
        server.schema = SCHEMA
        yield server


@pytest.fixture
async def client(
    shop: SessionServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx2.AsyncClient]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("outlast.agents.mcp.shared._PAUSES", ())
    (tmp_path / "script.yaml").write_text(SCRIPT)
    file = f"of_{tmp_path.name}.py"  # each its own, as it becomes a module
    (tmp_path / file).write_text(FILE.replace("URL", shop.url))
    server = outlast.asgi(file, data_dir=tmp_path / "data", drain_seconds=1)
    async with server.lifespan(), client_of(server) as client:
        yield client


@asynccontextmanager
async def client_of(server: Embedded) -> AsyncIterator[httpx2.AsyncClient]:
    key = server.core.settings.key_file.read_text().strip()
    transport, headers = httpx2.ASGITransport(server), {"Authorization": f"Bearer {key}"}
    async with (
        asyncio.timeout(BOUND),
        httpx2.AsyncClient(
            transport=transport, base_url="http://server", headers=headers
        ) as client,
    ):
        yield client


async def run(client: httpx2.AsyncClient, agent: str, text: str = "go") -> dict[str, Any]:
    answer = await client.post(f"/v1/agents/{agent}/execute", json={"input": text})
    found: dict[str, Any] = answer.json()
    return found


async def test_an_approved_call_runs_with_arguments_that_fit_the_listed_schema(
    client: httpx2.AsyncClient, shop: SessionServer
) -> None:
    suspended = await run(client, "asks")
    (pending,) = suspended["pendingApprovals"]
    assert (pending["name"], pending["kind"]) == ("shop__act", "approval")
    path = f"/v1/executions/{suspended['id']}/approvals/{pending['toolCallId']}"
    refused = await client.post(path, json={"approved": True, "parameters": {"n": "many"}})
    assert refused.status_code == 422, refused.text
    assert refused.json()["error"]["param"] == "parameters.n"
    decided = await client.post(path, json={"approved": True, "parameters": {"n": 5}})
    assert decided.status_code == 200, decided.text
    async with asyncio.timeout(BOUND):
        async with client.stream("GET", f"/v1/executions/{suspended['id']}/stream") as stream:
            await stream.aread()
    ended = (await client.get(f"/v1/executions/{suspended['id']}")).json()
    assert (ended["status"], ended["output"]) == ("completed", "acted")
    assert [call["arguments"] for call in shop.calls] == [{"n": 5}]


async def test_a_tool_that_is_not_listed_is_an_error_that_the_model_reads(
    client: httpx2.AsyncClient, shop: SessionServer
) -> None:
    found = await run(client, "plain", "none")
    assert found["output"] == (
        "shop has no tool 'shop__none', or no longer; its tools begin with shop__."
    )
    assert not shop.calls


async def test_a_function_sees_and_calls_the_listed_tools(
    client: httpx2.AsyncClient, shop: SessionServer
) -> None:
    assert (await run(client, "coded"))["output"] == "shop__act acted"
    assert shop.calls[0]["arguments"] == {"n": 7}


async def test_without_its_server_a_run_fails_and_can_be_resumed(
    client: httpx2.AsyncClient, shop: SessionServer
) -> None:
    shop.odd = lambda _message, _headers: answer(b"away", "503 Service Unavailable")
    failed = await run(client, "plain")
    assert failed["status"] == "failed"
    assert (failed["error"]["type"], failed["error"]["code"]) == (
        "upstream_error",
        "tools_unavailable",
    )
    assert "answered 503" in failed["error"]["message"]
    shop.odd = lambda _message, _headers: None
    resumed = await client.post(f"/v1/executions/{failed['id']}/resume")
    assert resumed.status_code in {200, 202}, resumed.text
    async with asyncio.timeout(BOUND):
        async with client.stream("GET", f"/v1/executions/{failed['id']}/stream") as stream:
            await stream.aread()
    ended = (await client.get(f"/v1/executions/{failed['id']}")).json()
    assert (ended["status"], ended["output"]) == ("completed", "acted")
