"""Pages and search engines, in the likeness of real ones, on loopback."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from outlast.agents.dial import guarded
from outlast.agents.loader import load
from outlast.agents.readiness import tools_not_ready
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import AgentSpec, Effect
from outlast.model.clock import SystemClock
from outlast.model.error import Misconfigured, ToolFailed, ToolTimeout
from tests.support.http_tools import CONTEXT, HttpToolServer, answer

pytestmark = pytest.mark.anyio

PARAGRAPHS = "".join(
    f"<p>Fox number {n} jumps over the lazy dog, and does so <a href='/{n}'>again</a>.</p>"
    for n in range(8)
)
PAGE = (
    "<html><head><title>Foxes &amp; dogs</title><script>alert(1)</script></head><body>"
    f"<nav>Home Shop Imprint</nav><article><h1>Foxes</h1>{PARAGRAPHS}"
    "<table><tr><td>one</td><td>two</td></tr></table></article></body></html>"
).encode()


def html(body: bytes = PAGE, status: str = "200 OK", **headers: str) -> bytes:
    return answer(body, status, **({"content_type": "text/html; charset=utf-8"} | headers))


def agent(folder: Path, tool: str) -> AgentSpec:
    (folder / "agents.yaml").write_text(f"agents: [{{name: a, model: m, tools: [{tool}]}}]")
    (spec,) = load(str(folder / "agents.yaml")).specs
    return spec


@asynccontextmanager
async def serving(
    folder: Path,
    tool: str,
    *answers: Any,
    private: bool = True,
    environ: dict[str, str] | None = None,
) -> AsyncIterator[tuple[HttpToolServer, Any]]:
    """Yield a server, and a function that calls the tool; `{port}` in the tool is the server's."""
    server = HttpToolServer(list(answers))
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    spec = agent(folder, tool.replace("{port}", str(server.port))).tools[0]
    box = ToolBox(SystemClock(), environ=environ or {}, models_connector=guarded(private=private))

    async def call(**arguments: Any) -> Any:
        return await box.call(spec, arguments, CONTEXT)

    try:
        yield server, call
    finally:
        await box.close()
        listening.close()


async def test_a_page_is_its_main_text_and_a_long_one_comes_in_parts(tmp_path: Path) -> None:
    async with serving(tmp_path, "{webFetch: {maxCharacters: 300}}", html()) as (server, call):
        first = await call(url=server.url)
        assert first["title"] == "Foxes"
        assert "Fox number 0" in first["text"]
        assert "alert" not in first["text"]
        parts, found = [first["text"]], first
        while "next" in found:
            found = await call(url=server.url, start=found["next"])
            parts.append(found["text"])
        assert len(parts) > 1
        whole = "".join(parts)
        assert all(f"Fox number {n} jumps" in whole for n in range(8))
        assert "Imprint" not in whole
        assert (await call(url=server.url, start=10**9))["text"] == ""


async def test_redirects_are_followed_to_a_bound_and_only_to_what_may_be_dialled(
    tmp_path: Path,
) -> None:
    moved = html(b"", "302 Found", location="/other")
    async with serving(tmp_path, "{webFetch: {}}", moved, html()) as (server, call):
        found = await call(url=f"http://127.0.0.1:{server.port}/first?a=b")
        assert found["url"] == f"http://127.0.0.1:{server.port}/other"
    away = html(b"", "301 Moved", location="http://169.254.169.254/latest/meta-data")
    async with serving(tmp_path, "{webFetch: {}}", away) as (server, call):
        with pytest.raises(ToolFailed, match="link-local and metadata addresses are never called"):
            await call(url=server.url)
    async with serving(tmp_path, "{webFetch: {}}", moved) as (server, call):
        with pytest.raises(ToolFailed, match="more than 5 redirects"):
            await call(url=server.url)
        assert len(server.seen) == 6


async def test_a_model_names_no_private_address_unless_the_operator_lets_it(tmp_path: Path) -> None:
    async with serving(tmp_path, "{webFetch: {}}", html(), private=False) as (server, call):
        with pytest.raises(ToolFailed, match="private and loopback addresses are not called"):
            await call(url=server.url)
        assert server.seen == []


async def test_only_allowed_hosts_are_read_after_a_redirect_too(tmp_path: Path) -> None:
    tool = "{webFetch: {allow: [example.com, 127.0.0.1]}}"
    away = html(b"", "302 Found", location="http://evil-example.com/")
    async with serving(tmp_path, tool, html(), away) as (server, call):
        await call(url=server.url)
        for url in (server.url, "https://example.com.evil.org/", "http://localhost/"):
            with pytest.raises(ToolFailed, match=r"is not read; these hosts are: example\.com"):
                await call(url=url)
    assert "Only pages of example.com" in agent(tmp_path, tool).tools[0].description


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("file:///etc/passwd", "begins with http:// or https://"),
        ("http://user:secret@127.0.0.1/", "begins with http:// or https://"),
        ("http://", "begins with http:// or https://"),
        ("http://[::1", "is not a URL"),
        ("http://127.0.0.1:99999/", "is not a URL"),
        ("http://127.0.0.1:1/", "Could not connect"),
    ],
)
async def test_what_is_no_page_is_an_error_that_the_model_reads(
    tmp_path: Path, url: str, shown: str
) -> None:
    async with serving(tmp_path, "{webFetch: {}}", html()) as (_, call):
        with pytest.raises(ToolFailed, match=shown):
            await call(url=url)


async def test_answers_of_every_kind_end_in_text_or_an_error(tmp_path: Path) -> None:
    async def cut(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 99\r\n\r\n<p>")
        writer.close()

    async with serving(
        tmp_path,
        "{webFetch: {}}",
        answer(b'{"a": [1]}'),
        html(b"<p>One</p> <script>alert(1)</script><p>two"),
        html(b"<p>" + b"word " * 600_000),
        html(b""),
        html(b"\x00\xff<<<p>&#xd800;</", content_type="text/html; charset=made-up"),
        html(b"%PDF", content_type="application/pdf"),
        html(b"", "404 Not Found"),
        cut,
    ) as (server, call):
        assert (await call(url=server.url))["text"] == '{"a": [1]}'
        assert (await call(url=server.url))["text"].split() == ["One", "two"]
        assert len((await call(url=server.url))["text"]) == 20_000
        assert (await call(url=server.url))["text"] == ""
        assert isinstance((await call(url=server.url))["text"], str)
        for shown in ("is application/pdf, which is not read", "answered 404", "could not be read"):
            with pytest.raises(ToolFailed, match=shown):
                await call(url=server.url)


async def test_a_page_is_read_in_its_charset(tmp_path: Path) -> None:
    text = "Grüße aus Köln à la carte"
    page = f"<p>{text}</p>"
    meta = f"<meta charset='iso-8859-1'>{page}"
    declared = f"<?xml version='1.0' encoding='iso-8859-1'?>{page}"
    wide = f"<meta http-equiv=content-type content='text/html; charset=UTF-16LE'>{page}"
    async with serving(
        tmp_path,
        "{webFetch: {}}",
        html(page.encode("latin-1"), content_type="text/html; charset=iso-8859-1"),
        html(page.encode(), content_type="text/html"),
        html(meta.encode("latin-1"), content_type="text/html"),
        html(wide.encode(), content_type="text/html"),
        html(page.encode("utf-16-be"), content_type="text/html; charset=utf-16be"),
        html(declared.encode(), content_type="application/xhtml+xml; charset=utf-8"),
        answer(text.encode("utf-16"), content_type="text/plain"),
        answer(text.encode("latin-1"), content_type="text/plain; charset=latin1"),
        answer(b"\xef\xbb\xbf" + text.encode(), content_type="text/plain"),
    ) as (server, call):
        found = [(await call(url=server.url))["text"] for _ in range(9)]
    assert found == [text] * 9


async def test_a_page_that_is_small_when_packed_is_read_to_two_mebibytes(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    million = b"x" * 1_000_000
    bomb = b"".join([*(packer.compress(million) for _ in range(100)), packer.flush()])
    packed = answer(bomb, content_type="text/plain", content_encoding="gzip")
    end = 2 * 1024 * 1024 - 5
    async with serving(tmp_path, "{webFetch: {}}", packed) as (server, call):
        assert (await call(url=server.url, start=end))["text"] == "xxxxx"


async def test_a_silent_page_ends_at_the_timeout(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def silent(_: asyncio.StreamWriter) -> None:
        await ended.wait()

    async with serving(tmp_path, "{webFetch: {timeout: 0.2}}", silent) as (server, call):
        with pytest.raises(ToolTimeout, match=r"did not answer within 0\.2 s"):
            await call(url=server.url)
        ended.set()
        await server.gone.wait()


RESULTS = [
    {"title": f"T{n}", "url": f"https://x.example/{n}", "content": "c" * 2000} for n in (1, 2)
]
ENGINES = {
    "tavily": ({"results": RESULTS}, "POST / HTTP/1.1", "authorization", "Bearer key-of-tavily"),
    "exa": (
        {"results": [{"title": "T1", "url": "https://x.example/1", "text": "c" * 2000}]},
        "POST / HTTP/1.1",
        "x-api-key",
        "key-of-exa",
    ),
    "brave": (
        {
            "web": {
                "results": [
                    {
                        "title": "T1",
                        "url": "https://x.example/1",
                        "description": "<strong>c</strong>" + "c" * 999,
                    }
                ]
            }
        },
        "GET /?q=a%26b%20%24%7BX%7D&count=1 HTTP/1.1",
        "x-subscription-token",
        "key-of-brave",
    ),
    "searxng": (
        {"results": RESULTS},
        "GET /?q=a%26b%20%24%7BX%7D&format=json HTTP/1.1",
        "accept-encoding",
        "identity",
    ),
}


@pytest.mark.parametrize("provider", ENGINES)
async def test_a_search_returns_title_url_and_text_of_each_result(
    provider: str, tmp_path: Path
) -> None:
    reply, line, header, value = ENGINES[provider]
    tool = f"{{webSearch: {{provider: {provider}, url: 'http://127.0.0.1:{{port}}/', count: 1}}}}"
    environ = {f"{provider.upper()}_API_KEY": f"key-of-{provider}"}
    async with serving(tmp_path, tool, answer(orjson.dumps(reply)), environ=environ) as (
        server,
        call,
    ):
        assert await call(query="a&b ${X}") == {
            "results": [{"title": "T1", "url": "https://x.example/1", "text": "c" * 1000}]
        }
        (request,) = server.seen
        assert request.line == line
        assert request.headers[header] == value
        if request.body:
            assert request.body["query"] == "a&b ${X}"


async def test_nothing_found_is_no_result_and_another_answer_an_error(tmp_path: Path) -> None:
    tool = "{webSearch: {provider: brave, url: 'http://127.0.0.1:{port}/'}}"
    environ = {"BRAVE_API_KEY": "secret-key"}
    replies = (answer(b"{}"), answer(b'{"web": {"results": "none"}}'), answer(b"", "401 No"))
    async with serving(tmp_path, tool, *replies, environ=environ) as (_, call):
        assert await call(query="x") == {"results": []}
        with pytest.raises(ToolFailed, match="brave answered with something that is not results"):
            await call(query="x")
        with pytest.raises(ToolFailed, match="answered 401") as raised:
            await call(query="x")
        assert "secret-key" not in raised.value.message


def test_a_key_is_named_not_written_and_its_absence_is_shown(tmp_path: Path) -> None:
    spec = agent(tmp_path, "{webSearch: {provider: tavily}}")
    assert spec.tools[0].effect is Effect.READ_ONLY
    (found,) = tools_not_ready(spec, {})
    assert "needs TAVILY_API_KEY" in str(found)
    assert list(tools_not_ready(spec, {"TAVILY_API_KEY": "x"})) == []
    for keys, shown in (
        ("provider: tavily, apiKey: tvly-123456", "this would be stored in clear"),
        ("provider: searxng", "searxng needs the key url"),
        ("provider: bing", "provider"),
        ("provider: exa, count: 50", "count"),
    ):
        with pytest.raises(Misconfigured) as raised:
            agent(tmp_path, f"{{webSearch: {{{keys}}}}}")
        assert shown in raised.value.message
        assert "tvly-123456" not in raised.value.message
