"""A real Chromium on pages of this machine: what tools do with them, and what pages may not."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from outlast.agents.browser.settings import COMMANDS, BrowserSettings, find_browser
from outlast.model.error import ToolFailed, ToolTimeout
from tests.support.browser import PROGRAM
from tests.support.pages import Page, Site, browsing, kept_browser, moved, needs_chromium
from tests.support.waiting import BOUND

pytestmark = [pytest.mark.anyio, needs_chromium, pytest.mark.usefixtures("one_browser")]


@pytest.fixture(scope="module")
async def one_browser(anyio_backend: Any) -> AsyncIterator[None]:
    """The same Chromium for all tests that set nothing; each has cookies of its own."""
    del anyio_backend  # its event loop is the module's too
    async with kept_browser():
        yield


EACH = sorted({found for name in COMMANDS if (found := shutil.which(name))})
"""Every browser of this machine: each has flags of its own for what is not to leave the proxy."""
SHOP = Page(
    "<title>Shop</title><h1>Tea</h1><input aria-label=Name value=old>"
    "<select aria-label=Size><option value=s>Small<option value=l>Large</select>"
    "<button onclick=\"out.textContent = document.querySelector('input').value + ' ' + "
    "document.querySelector('select').value\">Buy</button><p id=out>nothing</p>"
    "<form action=/found><input name=q aria-label=Search></form><a href=/second>Second</a>"
)
SECOND = Page("<title>Second</title><h1>Second page</h1>")


async def test_a_model_reads_and_fills_a_page_by_references() -> None:
    pages = {"/": SHOP, "/second": SECOND, "/found": Page("<h1>Found it</h1>")}
    async with Site(pages) as site, browsing(private=[site.origin]) as browser:
        shown = await browser("navigate", url=site.origin)
        assert (shown["url"], shown["title"]) == (f"{site.origin}/", "Shop")
        assert "notes" not in shown, "it was never open before"
        assert 'heading "Tea"' in shown["snapshot"]
        await browser("type", **browser.ref('textbox "Name"'), text="Ann")
        await browser("select_option", **browser.ref('combobox "Size"'), values=["Large"])
        shown = await browser("click", **browser.ref('button "Buy"'))
        assert "Ann l" in shown["snapshot"]
        shown = await browser("type", **browser.ref('"Search"'), text="tea & milk", submit=True)
        assert "Found it" in shown["snapshot"]
        assert "/found?q=tea+%26+milk" in site.paths
        await browser("navigate_back")
        await browser("click", **browser.ref('link "Second"'))
        await browser("press_key", key="Tab")
        assert (await browser("wait_for", text="Second page"))["title"] == "Second"
        shot = await browser("take_screenshot")
        (kept,) = browser.images
        assert (kept.image.media_type, kept.image.size > 1000) == ("image/jpeg", True)
        assert (shot["image"], shot["text"]) == (kept.image.id, kept.image.placeholder)
        assert await browser("close") == {
            "text": "The browser is closed, with its cookies; a later call opens an empty one."
        }


async def test_two_executions_at_once_do_not_share_cookies_or_storage() -> None:
    page = Page(
        "<script>localStorage.n = +(localStorage.n || 0) + 1; document.title = localStorage.n;"
        "</script>",
        headers={"set-cookie": "who=first"},
    )
    async with Site({"/": page}) as site, browsing(private=[site.origin]) as one:
        two = one.another()
        assert (await one("navigate", url=site.origin))["title"] == "1"
        assert (await one("navigate", url=site.origin))["title"] == "2"
        assert "cookie: who=first" in site.requests[-1].lower()
        first, second = await asyncio.gather(
            one("navigate", url=site.origin), two("navigate", url=site.origin)
        )
        assert (first["title"], second["title"]) == ("3", "1")
        ours = [head for head in site.requests if head.startswith("GET / ")]
        assert sum("cookie:" not in head.lower() for head in ours) == 2
        await two.held.close()


async def test_what_is_not_a_public_address_is_refused_on_every_way() -> None:
    """By its URL, a redirect, an iframe, a script, a form and a WebSocket."""
    async with Site({"/": Page("secret", headers={"access-control-allow-origin": "*"})}) as inside:
        there, meta = inside.origin, "http://169.254.169.254/latest/meta-data"
        attack = Page(
            f"<iframe src='{there}/iframe'></iframe><img src='{there}/image'>"
            f"<iframe src='{meta}'></iframe><form method=post action='{there}/form'>"
            f"<button>Send</button></form><script>fetch('{there}/fetch').then(() => 0, () => "
            f"document.title = 'refused');new WebSocket('ws://127.0.0.1:{inside.port}/socket');"
            f"fetch('https://127.0.0.1:{inside.port}/tls').catch(() => 0);"
            f"fetch('http://localhost:{inside.port}/name').catch(() => 0);"
            f"fetch('http://[::1]:{inside.port}/six').catch(() => 0);"
            f"fetch('http://0.0.0.0:{inside.port}/any').catch(() => 0);</script>"
        )
        pages = {
            "/": attack,
            "/meta": moved(meta),
            "/loop": moved(f"{there}/redirect"),
            "/twice": moved("/loop"),
        }
        async with Site(pages) as site, browsing(private=[site.origin]) as browser:
            for path in ("/meta", "/loop", "/twice"):
                with pytest.raises(ToolFailed, match=r"are never called|are not called"):
                    await browser("navigate", url=site.origin + path)
            for url in (
                f"{there}/direct",
                f"http://localhost:{inside.port}/",
                f"http://2130706433:{inside.port}/",
                f"http://0x7f.1:{inside.port}/",
                f"http://[::ffff:127.0.0.1]:{inside.port}/",
                f"https://127.0.0.1:{inside.port}/",
                meta,
                "http://[fd00:ec2::254]/",
                "https://169.254.169.254/",
            ):
                with pytest.raises(ToolFailed, match=r"are never called|are not called"):
                    await browser("navigate", url=url)
            noted = str(await browser("navigate", url=site.origin))
            async with asyncio.timeout(BOUND):  # what a page loads may be refused after it is shown
                for refused in (
                    f"127.0.0.1:{inside.port}: private and loopback",
                    "169.254.169.254:80: link-local and metadata",
                ):
                    while refused not in noted:
                        noted += str(await browser("snapshot"))
            shown = await browser("click", **browser.ref('button "Send"'))
            assert "Outlast does not open" in shown["snapshot"]
        assert inside.connections == 0


async def test_a_name_is_resolved_once_and_what_was_checked_is_dialled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A resolver that gives another address the second time leads no request to loopback."""
    answers: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        answers.append(host)
        return ["192.0.2.1"] if len(answers) % 2 else ["127.0.0.1"]

    async with Site({"/": Page("secret")}) as inside, browsing() as browser:
        await browser("close")  # has loaded what opens browsers
        runner: Any = browser.box._runners["browser"][1]
        monkeypatch.setattr(runner._browsers, "_resolve", rebinding)
        for _ in range(2):
            with pytest.raises(ToolFailed):
                await browser("navigate", url=f"http://rebind.example:{inside.port}/")
        assert len(answers) >= 2
        assert inside.connections == 0


async def test_only_the_agents_origins_are_loaded() -> None:
    async with Site({"/": SECOND}) as other:
        page = Page(f"<h1>Here</h1><img src='{other.origin}/image'>")
        async with Site({"/": page}) as site:
            ours = [site.origin, other.origin]
            async with browsing(allow=[site.origin], private=ours) as browser:
                await browser("navigate", url=other.origin)
            async with browsing(allow=["https://shop.example"], private=[site.origin]) as browser:
                shown = await browser("navigate", url=site.origin)
                assert f"127.0.0.1:{other.port}: it is not one of" in str(shown["notes"])
                with pytest.raises(ToolFailed, match="it is not one of the agent's origins"):
                    await browser("navigate", url="https://example.com")
            assert other.paths.count("/image") == 0


async def test_only_pages_of_the_web_are_opened() -> None:
    others = ("file:///etc/passwd", "chrome://version", "about:blank", "data:text/html,x")
    async with browsing() as browser:
        for url in (*others, "http://", "x"):
            with pytest.raises(ToolFailed, match="is not opened: a URL begins with http"):
                await browser("navigate", url=url)


async def test_downloads_are_refused_and_dialogs_dismissed_and_tabs_followed() -> None:
    file = Page(b"x" * 1000, headers={"content-disposition": "attachment; filename=virus.exe"})
    page = Page(
        "<button onclick=\"document.title = confirm('Delete all?')\">Ask</button>"
        "<a href=/file>Load</a><a href=/second target=_blank>Tab</a>"
        "<a href='file:///etc/passwd'>File</a>"
        "<script>window.onbeforeunload = e => { e.preventDefault(); return 'stay' }</script>"
    )
    pages = {"/": page, "/file": file, "/second": SECOND}
    async with Site(pages) as site, browsing(private=[site.origin]) as browser:
        await browser("navigate", url=site.origin)
        shown = await browser("click", **browser.ref('button "Ask"'))
        assert shown["title"] == "false"
        assert "The page's confirm was dismissed: Delete all?" in shown["notes"]
        shown = await browser("click", **browser.ref('link "Load"'))
        assert "A download was refused: virus.exe" in shown["notes"]
        with pytest.raises(ToolFailed, match="is a download; downloads are refused"):
            await browser("navigate", url=f"{site.origin}/file")
        await browser("snapshot")
        shown = await browser("click", **browser.ref('link "File"'))
        assert shown["url"] == f"{site.origin}/"
        shown = await browser("click", **browser.ref('link "Tab"'))
        notes = shown.get("notes", [])
        while shown["title"] != "Second":  # a tab comes when its page does
            shown = await browser("wait_for", time=0.1)
            notes += shown.get("notes", [])
        assert notes == ["A new tab was opened, and is the current one."]
        assert (await browser("navigate_back"))["url"] == f"{site.origin}/"
        assert (await browser("navigate", url=f"{site.origin}/second"))["title"] == "Second"


async def test_a_page_of_ten_megabytes_comes_in_parts() -> None:
    rows = "".join(f"<p>Row {n} {'x' * 700} <a href=/{n}>more</a></p>" for n in range(14_000))
    assert len(rows) > 10_000_000
    async with Site({"/": Page(rows)}) as site, browsing(private=[site.origin]) as browser:
        shown = await browser("navigate", url=site.origin)
        assert len(shown["snapshot"]) <= 20_000
        second = await browser("snapshot", start=shown["next"])
        assert len(second["snapshot"]) == 20_000
        assert "this is its text" in second["notes"][0]
        assert "Row 0 x" in shown["snapshot"]
        assert "Row 40 x" in second["snapshot"]
        fewer = "".join(f"<p>Row {n} {'x' * 80} <a href=/{n}>more</a></p>" for n in range(900))
        site.pages["/"] = Page(fewer)
        shown = await browser("navigate", url=site.origin)
        second = await browser("snapshot", start=shown["next"])
        assert "[ref=" in second["snapshot"]
        assert len(second["snapshot"]) == 20_000


async def test_a_page_that_hangs_is_closed_and_the_next_one_opens() -> None:
    hang = Page("<title>Hang</title><script>while (true);</script>")
    pages = {"/": SECOND, "/hang": hang}
    async with Site(pages) as site, browsing(private=[site.origin]) as browser:
        await browser("navigate", url=site.origin)
        hasty = browser.another(private=[site.origin], timeout=2)
        hasty.held = browser.held
        with pytest.raises(ToolTimeout, match="the browser was closed"):
            await hasty("navigate", url=f"{site.origin}/hang")
        assert (await browser("navigate", url=site.origin))["title"] == "Second"


async def test_executions_wait_for_a_free_browser() -> None:
    settings = BrowserSettings(contexts=1, idle_seconds=0)
    async with Site({"/": SECOND}) as site, browsing(settings, private=[site.origin]) as one:
        await one("navigate", url=site.origin)
        hasty = one.another(private=[site.origin], timeout=0.2)
        with pytest.raises(ToolTimeout, match="All 1 browsers of the server are in use"):
            await hasty("navigate", url=site.origin)
        two = one.another()
        waiting = asyncio.create_task(two("navigate", url=site.origin))
        await one("snapshot")
        assert not waiting.done()
        await one.held.close()
        assert (await waiting)["title"] == "Second"
        await two.held.close()


async def test_what_was_seen_is_found_again_after_the_browser_was_closed() -> None:
    body = (
        "<title>Shop</title><script>for (let i = 0; i < 3; i++) document.write("
        "'<button>Other ' + i + '</button>')</script><button onclick=\"document.title='bought'\">"
        "Buy</button><button>Twin</button>"
    )
    async with Site({"/": Page(body)}) as site, browsing(private=[site.origin]) as browser:
        await browser("navigate", url=site.origin)
        buy, twin = browser.ref('"Buy"'), browser.ref('"Twin"')
        await browser.held.leave()
        site.pages["/"] = Page(f"<button>New</button>{body}<button>Twin</button>")
        with pytest.raises(ToolFailed, match=r"Twin.*is not on it as before: take a snapshot"):
            await browser("click", **twin)
        shown = await browser("click", **buy)
        assert shown["title"] == "bought"
        assert shown["notes"][0].startswith("The browser was closed since its last step.")


def test_the_browser_that_can_do_most_is_found_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("chromium-headless-shell", "chromium"):
        (tmp_path / name).touch(0o755)
        assert find_browser("") == str(tmp_path / name)
    assert find_browser(str(tmp_path / "none")) is None


@pytest.mark.parametrize("program", EACH)
async def test_pages_send_nothing_but_through_the_proxy(program: str) -> None:
    """A page that looks for its address by WebRTC reaches no UDP port, and no worker serves it."""
    loop = asyncio.get_running_loop()
    received: list[bytes] = []

    class Stun(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            received.append(data)

    transport, _ = await loop.create_datagram_endpoint(Stun, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    page = Page(
        f"<script>const p = new RTCPeerConnection({{iceServers: [{{urls: 'stun:127.0.0.1:{port}'}}]"
        "});p.createDataChannel('x');p.createOffer().then(o => p.setLocalDescription(o));"
        "p.onicegatheringstatechange = () => { if (p.iceGatheringState === 'complete') "
        "document.body.append('gathered') };navigator.serviceWorker.register('/worker')</script>"
        "<body></body>"
    )
    worker = Page("", headers={"content-type": "text/javascript"})
    with closing(transport):
        async with Site({"/": page, "/worker": worker}) as site:
            settings = None if program == PROGRAM else BrowserSettings(path=program)
            async with browsing(settings, private=[site.origin]) as browser:
                await browser("navigate", url=site.origin)
                await browser("wait_for", text="gathered")
            assert "/worker" not in site.paths
    assert received == []
