"""MCP over HTTP: sessions that are forgotten, addresses, headers and secrets, answers cut off."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from outlast import mcp_tools
from outlast.agents.dial import guarded
from outlast.agents.mcp import http
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import AgentSpec
from outlast.model.clock import SystemClock
from outlast.model.error import ToolFailed, ToolsUnavailable
from tests.support.authority import authority
from tests.support.http_tools import answer
from tests.support.mcp_http import SessionServer, said, session_server
from tests.support.mcp_servers import CONTEXT, Tools, tools_of

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server() -> AsyncIterator[SessionServer]:
    async with session_server() as server:
        yield server


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("outlast.agents.mcp.shared._PAUSES", ())


async def test_a_forgotten_session_is_opened_again_and_the_call_is_not_repeated(
    server: SessionServer,
) -> None:
    async with tools_of(url=server.url) as tools:
        assert await tools.call("act") == "acted"
        server.sessions.clear()
        with pytest.raises(ToolFailed, match="forgotten the session, so the call did not run"):
            await tools.call("act")
        assert len(server.calls) == 1
        assert await tools.call("act") == "acted"
        assert [call["name"] for call in server.calls] == ["act", "act"]
        assert len(server.headers) == 2


async def test_one_call_that_is_cut_off_leaves_the_others_alone(server: SessionServer) -> None:
    def cut(message: dict[str, Any], _headers: dict[str, str]) -> bytes | None:
        if message.get("params", {}).get("arguments") == {"cut": True}:
            return answer(b"cut off", content_length="99")
        if message.get("params", {}).get("arguments") == {"hang": "up"}:
            return b""
        return None

    server.odd = cut
    async with tools_of(url=server.url) as tools:
        results = await asyncio.gather(
            *(tools.call("act", n=n) for n in range(20)),
            tools.call("act", cut=True),
            tools.call("act", hang="up"),
            return_exceptions=True,
        )
        assert results[:20] == ["acted"] * 20
        for failed in results[20:]:
            assert isinstance(failed, ToolFailed)
            assert "was lost" in failed.message
            assert "It is not known" in failed.message
        assert await tools.call("act") == "acted"
        assert len(server.headers) == 1


async def test_a_refusal_is_shown_without_the_secrets_of_the_request(
    server: SessionServer,
) -> None:
    def refuse(message: dict[str, Any], headers: dict[str, str]) -> bytes | None:
        if message.get("method") != "tools/call":
            return None
        return answer(f"not with {headers['authorization']}".encode(), "403 Forbidden")

    server.odd = refuse
    headers = {"authorization": "Bearer ${KEY}"}
    environ = {"KEY": "s3cret-token"}
    async with tools_of(url=server.url, headers=headers, environ=environ) as tools:
        with pytest.raises(ToolFailed, match=r"answered 403: not with \*\*\*") as raised:
            await tools.call("act")
        assert "s3cret" not in repr(raised.value)
        assert raised.value.cause == "The MCP server shop answered 403."
        assert server.headers[0]["authorization"] == "Bearer s3cret-token"
    async with tools_of(url=server.url, headers=headers) as tools:
        with pytest.raises(ToolsUnavailable, match="variable KEY"):
            await tools.listed()


async def test_redirects_are_not_followed(server: SessionServer) -> None:
    other = f"http://127.0.0.1:{server.port}/other"
    server.odd = lambda _message, _headers: answer(b"", "307 Temporary Redirect", location=other)
    async with tools_of(url=server.url) as tools:
        with pytest.raises(ToolsUnavailable, match="not followed"):
            await tools.listed()
    assert server.received["server/discover"] + server.received["initialize"] <= 2


@pytest.mark.parametrize(
    ("url", "private", "reason"),
    [
        ("http://169.254.169.254/mcp", True, "link-local and metadata addresses are never called"),
        ("http://127.0.0.1:1/mcp", False, "private and loopback addresses are not called"),
        ("http://127.0.0.1:1/mcp", True, "could not be reached"),
    ],
)
async def test_addresses_are_checked_as_they_are_dialled(
    url: str, private: bool, reason: str
) -> None:
    box = ToolBox(SystemClock(), environ={}, connector=guarded(private=private))
    with pytest.raises(ToolsUnavailable, match=reason):
        await Tools(box, mcp_tools("shop", url=url)[0]).listed()
    await box.close()


async def test_forwarded_headers_have_a_connection_of_their_own(server: SessionServer) -> None:
    own = {"x-shop": "ours"}
    async with tools_of(url=server.url, headers=own) as tools:
        one = replace(CONTEXT, headers={"X-User": "ann", "X-Shop": "theirs"})
        two = replace(CONTEXT, headers={"X-User": "bob"})
        for context in (one, two, one):
            spec = (await tools.listed(context)).tool("shop__act")
            assert spec is not None
            assert await tools.box.call(spec, {}, context) == "acted"
        seen = [(one["x-user"], one["x-shop"]) for one in server.headers]
        assert seen == [("ann", "ours"), ("bob", "ours")]


async def test_an_answer_that_is_too_large_is_not_read(
    server: SessionServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MAX_BYTES", 10_000)

    def large(message: dict[str, Any], _headers: dict[str, str]) -> bytes | None:
        if message.get("method") != "tools/call":
            return None
        return said(message, {"content": [{"type": "text", "text": "x" * 20_000}]})

    server.odd = large
    async with tools_of(url=server.url) as tools:
        with pytest.raises(ToolFailed, match="larger than 10000 bytes"):
            await tools.call("act")


async def test_a_list_is_used_for_a_while_and_listed_once_for_many(
    server: SessionServer,
) -> None:
    async with tools_of(url=server.url) as tools:
        await asyncio.gather(*(tools.names() for _ in range(100)))
        await tools.names()
        assert server.received["tools/list"] == 1
        assert len(server.headers) == 1


async def test_many_that_wait_for_a_server_that_is_away_fail_together(
    server: SessionServer,
) -> None:
    tried = 0

    def away(_message: dict[str, Any], _headers: dict[str, str]) -> bytes | None:
        nonlocal tried
        tried += 1
        return answer(b"away", "503 Service Unavailable")

    server.odd = away
    async with tools_of(url=server.url) as tools:
        found = await asyncio.gather(*(tools.names() for _ in range(50)), return_exceptions=True)
    assert all(isinstance(one, ToolsUnavailable) for one in found)
    assert tried <= 4


async def test_an_agent_without_a_source_is_left_as_it_is() -> None:
    box = ToolBox(SystemClock(), environ={})
    spec = AgentSpec("a", "m")
    assert await box.listed(spec, CONTEXT) is spec
    assert orjson.dumps(mcp_tools("shop", url="http://x/mcp")[0].other) == (
        b'{"mcp":{"lists":true,"url":"http://x/mcp"}}'
    )


async def test_a_server_is_called_through_its_proxy_and_the_login_is_shown_nowhere(
    server: SessionServer, free_tcp_port: int
) -> None:
    environ = {"PROXY_PASSWORD": "s3cret/word"}
    proxy = f"http://me:${{PROXY_PASSWORD}}@127.0.0.1:{server.port}"
    async with tools_of(url="http://far.invalid/mcp", proxy=proxy, environ=environ) as tools:
        assert await tools.call("act") == "acted"
        assert server.headers[0]["host"] == "far.invalid"
        assert server.headers[0]["proxy-authorization"].startswith("Basic ")
        said_password = answer(b"no: s3cret/word", "407 Proxy Authentication Required")
        server.odd = lambda _message, _headers: said_password
        with pytest.raises(ToolFailed) as raised:
            await tools.call("act")
        assert "407" in raised.value.message
        assert "s3cret" not in raised.value.message
    gone = f"http://127.0.0.1:{free_tcp_port}"
    async with tools_of(url="http://far.invalid/mcp", proxy=gone) as tools:
        with pytest.raises(ToolsUnavailable, match="could not be reached through its proxy"):
            await tools.call("act")


async def test_an_authority_of_ones_own_is_trusted_by_the_server_that_names_it(
    server: SessionServer, tmp_path: Path
) -> None:
    context = authority(tmp_path)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context) as own:
        url = f"https://127.0.0.1:{own.sockets[0].getsockname()[1]}/mcp"
        async with tools_of(url=url, ca_file=str(tmp_path / "ca.pem")) as tools:
            assert await tools.call("act") == "acted"
        for ca_file, shown in (
            (None, "could not be reached"),
            (str(tmp_path / "none.pem"), "certificates of its caFile cannot be read"),
        ):
            async with tools_of(url=url, ca_file=ca_file) as tools:
                with pytest.raises(ToolsUnavailable, match=shown):
                    await tools.call("act")
