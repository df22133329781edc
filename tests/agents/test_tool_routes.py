"""How the requests of tools reach their server: proxies, and authorities of one's own."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from outlast import openapi_tools
from outlast.agents.check import agent_problems, operators_only
from outlast.agents.loader import load
from outlast.agents.tools.kinds import find
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import ENVIRONMENT_PROXY, AgentSpec, Effect
from outlast.model.error import Misconfigured
from outlast.model.spec_json import spec_from_dict, spec_to_dict
from tests.support.authority import authority
from tests.support.clocks import InstantClock
from tests.support.http_tools import CONTEXT, HttpToolServer, answer, failure, look
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio

FAR = "http://shop.invalid/tools/look"
KINDS = """
agents:
  - name: a
    model: m
    tools:
      - name: t
        http: {url: "http://shop.invalid/", proxy: %(proxy)s, caFile: ca.pem}
      - openapi: {file: shop.json, include: [GET /x], proxy: %(proxy)s, caFile: ca.pem}
      - webSearch: {provider: searxng, url: "http://find.invalid", proxy: %(proxy)s, caFile: ca.pem}
"""
SHOP = (
    '{"openapi": "3.1.0", "servers": [{"url": "http://shop.invalid"}],'
    ' "paths": {"/x": {"get": {}}}}'
)


def near(server: HttpToolServer, login: str = "") -> str:
    return f"http://{login}127.0.0.1:{server.port}"


@pytest.fixture
async def box(clock: InstantClock) -> AsyncIterator[ToolBox]:
    box = ToolBox(clock, environ={"PROXY_PASSWORD": "s3cret/word"})
    yield box
    await box.close()


async def test_a_tool_with_a_proxy_calls_through_it(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    tool_server.answers = [answer(b"1")]
    assert await box.call(look(FAR, proxy=near(tool_server)), {}, CONTEXT) == 1
    assert tool_server.seen[0].line == f"POST {FAR} HTTP/1.1"
    assert tool_server.seen[0].headers["host"] == "shop.invalid"


async def test_the_login_of_a_proxy_is_sent_to_it_and_shown_nowhere(
    tool_server: HttpToolServer, box: ToolBox
) -> None:
    through = near(tool_server, "me:${PROXY_PASSWORD}@")
    pair = "bWU6czNjcmV0L3dvcmQ="
    tool_server.answers = [answer(f'["s3cret/word", "{pair}"]'.encode())]
    assert await box.call(look(FAR, proxy=through), {}, CONTEXT) == ["***", "***"]
    assert tool_server.seen[0].headers["proxy-authorization"] == f"Basic {pair}"
    message = await failure(box, look(FAR, proxy=through.replace("_PASSWORD", "_UNSET")))
    assert message == "The environment variable PROXY_UNSET, which this tool needs, is not set."


@pytest.mark.parametrize("skipped", [True, False])
async def test_the_environments_proxy_is_used_where_the_tool_says_so(
    tool_server: HttpToolServer, box: ToolBox, monkeypatch: pytest.MonkeyPatch, skipped: bool
) -> None:
    tool_server.answers = [answer(b"1")]
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9" if skipped else near(tool_server))
    monkeypatch.setenv("no_proxy", "127.0.0.1" if skipped else "")
    url = tool_server.url if skipped else FAR
    assert await box.call(look(url, proxy=ENVIRONMENT_PROXY), {}, CONTEXT) == 1
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert await box.call(look(tool_server.url), {}, CONTEXT) == 1
    monkeypatch.setenv("http_proxy", "http://[")
    message = await failure(box, look(tool_server.url, proxy=ENVIRONMENT_PROXY))
    assert message == "The environment's proxy is no http:// proxy."


async def test_a_proxy_that_does_not_connect_is_named_as_the_reason(
    tool_server: HttpToolServer, box: ToolBox, free_tcp_port: int
) -> None:
    tool_server.answers = [answer(b"", "403 Forbidden")]
    secure = "https://shop.invalid/tools/look"
    message = await failure(box, look(secure, Effect.DESTRUCTIVE, proxy=near(tool_server)))
    assert message == f"The proxy does not connect to {secure}: it answered 403."
    assert tool_server.seen[0].line == "CONNECT shop.invalid:443 HTTP/1.1"
    gone = f"http://127.0.0.1:{free_tcp_port}"
    message = await failure(box, look(FAR, Effect.DESTRUCTIVE, proxy=gone))
    assert message == f"Could not connect to {FAR} through its proxy."


async def test_an_authority_of_ones_own_is_trusted_by_the_tool_that_names_it(
    tmp_path: Path, box: ToolBox
) -> None:
    tool_server = HttpToolServer(answers=[answer(b"1")])
    context = authority(tmp_path)
    async with await asyncio.start_server(tool_server.serve, "127.0.0.1", 0, ssl=context) as own:
        url = f"https://127.0.0.1:{own.sockets[0].getsockname()[1]}/tools/look"
        async with asyncio.timeout(BOUND):
            ca_file = str(tmp_path / "ca.pem")
            assert await box.call(look(url, ca_file=ca_file), {}, CONTEXT) == 1
            assert await failure(box, look(url)) == f"Could not connect to {url}."
            (tmp_path / "not.pem").write_text("nothing of the kind")
            for name in ("not.pem", "none.pem"):
                message = await failure(box, look(url, ca_file=str(tmp_path / name)))
                assert message == "The certificates of the tool's caFile cannot be read."
        await box.close()


async def test_every_kind_of_tool_that_sends_requests_has_both_keys(
    tmp_path: Path, tool_server: HttpToolServer, box: ToolBox
) -> None:
    authority(tmp_path)
    spec = _loaded(tmp_path, near(tool_server))
    assert spec_from_dict(spec_to_dict(spec)) == spec
    tool_server.answers = [answer(b"1"), answer(b"1"), answer(b'{"results": []}')]
    for tool in spec.tools:
        arguments = {"query": "x"} if tool.kind == "webSearch" else {}
        await box.call(tool, arguments, CONTEXT)
    hosts = [request.headers["host"] for request in tool_server.seen]
    assert hosts == ["shop.invalid", "shop.invalid", "find.invalid"]
    (tmp_path / "ca.pem").unlink()
    for tool in spec.tools:
        kind = find(tool.kind)
        assert kind is not None
        lacks = "needs the certificates of caFile: there is no file ca.pem"
        assert kind.not_ready(tool, {}) == lacks


def test_true_is_the_environments_proxy_and_false_is_none(tmp_path: Path) -> None:
    calls = [_loaded(tmp_path, given).tools[0].http for given in ("true", "false")]
    assert [call and call.proxy for call in calls] == [ENVIRONMENT_PROXY, None]


def test_in_python_the_tools_of_a_document_have_both(tmp_path: Path) -> None:
    (tmp_path / "shop.json").write_text(SHOP)
    given: dict[str, Any] = {"proxy": True, "ca_file": "ca.pem"}
    (tool,) = openapi_tools(str(tmp_path / "shop.json"), ["GET /x"], **given)
    assert tool.other["openapi"]["proxy"] == ENVIRONMENT_PROXY
    assert tool.other["openapi"]["ca_file"] == str(Path("ca.pem").resolve())


@pytest.mark.parametrize(
    ("proxy", "problem"),
    [
        ("socks5://x", "must be a URL like http://host:3128; false is for none, true for"),
        ("http://me:word@h:1", "a user and a password here would be stored in clear"),
    ],
)
def test_a_proxy_that_cannot_be_is_refused(tmp_path: Path, proxy: str, problem: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        _loaded(tmp_path, proxy)
    assert raised.value.message.count(problem) == 3


def test_only_the_operator_names_proxies_and_files() -> None:
    spec = AgentSpec("a", "m", tools=(look(FAR, proxy="http://h:1", ca_file="/ca.pem"),))
    assert not list(agent_problems(spec))
    assert {problem.path[-1] for problem in operators_only(spec)} == {"proxy", "ca_file"}


def _loaded(folder: Path, proxy: str) -> AgentSpec:
    (folder / "shop.json").write_text(SHOP)
    (folder / "agents.yaml").write_text(KINDS % {"proxy": proxy})
    return load(str(folder / "agents.yaml")).specs[0]
