"""A real Chromium, driven by Playwright, that notes what a page must not do."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.support.browser import PROGRAM
from tests.support.long_cases import WHOLE
from tests.support.processes import API_KEY
from tests.support.waiting import BOUND

SHOTS: Final = os.environ.get("OUTLAST_SCREENSHOTS", "")
"""A folder to keep pictures of every screen in, for people to look at."""
PICTURES: Final = os.environ.get("OUTLAST_PICTURES", "")
"""The folder of the documents' pictures, which `make pictures` takes anew."""
_FLAGS: Final = (
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic"),
    *("--disable-site-isolation-trials", "--renderer-process-limit=1"),
    *(() if WHOLE else ("--js-flags=--single-threaded,--no-opt,--no-maglev",)),
)
"""All pages are of one server, and each further process takes its time. Scripts run so briefly that
optimizing them costs more than it saves, but for axe on the very long pages of `make hostile`."""
_AXE: Final = Axe().axe_script
_RUN_AXE: Final = "(options) => axe.run(document, options)"
_LISTEN: Final = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
"""
_NETWORK: Final = (
    "Failed to load resource",
    "net::",
    "network error",
    "Failed to fetch",
    "SSE reconnect failed",
)
"""What a browser says of a server that is away or refuses; the page's own words are asserted."""
_CLOSE: Final = "document.querySelectorAll('details').forEach((one) => { one.open = false })"


_kept: list[Browser] = []
"""The one that serves every call of `chromium`, if there is one."""
_contexts: dict[str, BrowserContext] = {}
"""Those of the one that is kept, by their options: a new one costs as much as six pages."""


@asynccontextmanager
async def kept_chromium() -> AsyncIterator[None]:
    """Meanwhile `chromium` gives the same one to all; in one event loop."""
    async with chromium() as browser:
        _kept.append(browser)
        try:
            yield
        finally:
            _kept.remove(browser)
            _contexts.clear()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The machine's Chromium; skips where it has none."""
    if _kept:
        yield _kept[0]
        return
    if PROGRAM is None:
        pytest.skip("Chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=PROGRAM, args=[*_FLAGS])
        try:
            yield browser
        finally:
            await browser.close()


class Visit:
    """A page of a server, and what it did besides."""

    def __init__(self, page: Page, url: str) -> None:
        self.page, self.url = page, url
        self.faults: list[str] = []
        page.on("request", self._requested)
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))

    def _requested(self, request: Any) -> None:
        if not request.url.startswith((self.url + "/", "data:")):
            self.faults.append(f"foreign request: {request.url}")

    def _said(self, message: Any) -> None:
        if message.type == "error" and not any(word in message.text for word in _NETWORK):
            self.faults.append(message.text)

    async def goto(self, path: str) -> None:
        await self.page.goto(self.url + path)


@asynccontextmanager
async def visit(browser: Browser, url: str, **options: Any) -> AsyncIterator[Visit]:
    """A new page without cookies; at its end it must have done nothing that it must not."""
    async with _context(browser, **options) as context:
        page = await context.new_page()
        page.set_default_timeout(BOUND * 1000)
        visited = Visit(page, url)
        yield visited
    assert not visited.faults, visited.faults


@asynccontextmanager
async def _context(browser: Browser, **options: Any) -> AsyncIterator[BrowserContext]:
    """A context that nothing is left in; where the browser is kept, so are its contexts."""
    name = repr(sorted(options.items()))
    context = _contexts.pop(name, None)
    if context is None:
        context = await browser.new_context(reduced_motion="reduce", **options)
        await context.add_init_script(_LISTEN)
        await context.new_page()  # keeps the process that shows the pages
    try:
        yield context
    except BaseException:
        await context.close()
        raise
    if browser not in _kept:
        await context.close()
        return
    for page in context.pages[1:]:
        await page.close()
    await context.clear_cookies()
    _contexts[name] = context


async def sign_in(at: Visit) -> None:
    """Sign in at the console, by its form."""
    await at.goto("/console")
    await at.page.get_by_label("API key").fill(API_KEY)
    await at.page.get_by_role("button", name="Sign in").click()
    await at.page.wait_for_url(lambda url: "/sign-in" not in url)


async def enter(at: Visit, path: str) -> None:
    """Open a page of the console, signed in by the request that its form makes."""
    answer = await at.page.context.request.post(
        f"{at.url}/console/sign-in",
        form={"key": API_KEY},
        headers={"origin": at.url},
        max_redirects=0,
    )
    assert answer.status == 303, await answer.text()
    await at.goto(path)


async def picture(at: Visit, name: str) -> None:
    """Take a picture of the window for the documents, where they are wanted; details are closed."""
    if PICTURES:
        await at.page.evaluate(_CLOSE)
        await at.page.screenshot(path=f"{PICTURES}/{name}.png", animations="disabled")


async def examine(at: Visit, name: str, path: str) -> None:
    """Look at a screen: no violation of WCAG 2.2 AA, nothing wider than the window."""
    await at.goto(path)
    await examine_here(at, name)


async def with_axe(at: Visit) -> None:
    """Let each page that is opened from now on have axe, which is sent to the browser once."""
    await at.page.add_init_script(_AXE)


async def examine_here(at: Visit, name: str, *, axe: bool = True) -> None:
    """Look at the screen as it is; without `axe`, only whether it fits."""
    if SHOTS:
        await at.page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)
    if not at.page.url.endswith("/console/system"):  # which shows the operator's settings
        assert "/test_every" not in await at.page.content(), "no folder of the operator's"
    if axe:
        await _accessible(at, name)
    wider = await at.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wider <= 0, (name, wider)


async def _accessible(at: Visit, name: str) -> None:
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    if await at.page.evaluate("typeof axe") == "undefined":
        await at.page.evaluate(_AXE)
    options = {"runOnly": {"type": "tag", "values": tags}, "resultTypes": ["violations"]}
    found = await at.page.evaluate(_RUN_AXE, options)
    wrong = [
        (one["id"], [node["html"][:160] for node in one["nodes"]]) for one in found["violations"]
    ]
    assert wrong == [], f"{name}: {wrong}"
