"""The bench's reader of the console: a session, and pages in Chromium."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx2

from bench.client import HOST
from bench.requests import KEY
from outlast.agents.browser.settings import find_browser

if TYPE_CHECKING:
    from playwright.async_api import Page

_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
_DRAWN = """
new MutationObserver((_, observer) => {
  const figure = document.getElementById("timeline");
  if (!figure?.dataset.drawn) return;
  observer.disconnect();
  requestAnimationFrame(() => { globalThis.drawnAt = performance.now(); });
}).observe(document, { subtree: true, childList: true, attributes: true });
"""
_NEXT_FRAME = "() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))"
_TOOK = """() => {
  const loaded = performance.getEntriesByType("resource");
  const columns = loaded.find((one) => one.name.endsWith("/columns"));
  return globalThis.drawnAt - columns.responseEnd;
}"""


@dataclass(frozen=True, slots=True)
class Session:
    """A reader who is signed in."""

    port: int
    name: str
    value: str

    def get(self, path: str) -> bytes:
        """The bytes of a GET."""
        host = f"{HOST}:{self.port}"
        cookie = f"{self.name}={self.value}"
        return f"GET {path} HTTP/1.1\r\nhost: {host}\r\ncookie: {cookie}\r\n\r\n".encode()


async def session_of(port: int) -> Session:
    """Sign in with the bench's key."""
    async with httpx2.AsyncClient(base_url=f"http://{HOST}:{port}", timeout=60) as client:
        answer = await client.post(
            "/console/sign-in", data={"key": KEY}, headers={"Sec-Fetch-Site": "same-origin"}
        )
        ((name, value),) = answer.cookies.items()
    return Session(port, name, value)


@asynccontextmanager
async def chromium_page(session: Session, script: str) -> AsyncGenerator["Page", None]:
    """A page of the machine's Chromium that is signed in, and runs a script before its own."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(""), args=[*_FLAGS])
        url = f"http://{HOST}:{session.port}"
        context = await browser.new_context(base_url=url)
        await context.add_cookies(
            [{"name": session.name, "value": session.value, "url": f"{url}/console"}]
        )
        await context.add_init_script(script)
        try:
            yield await context.new_page()
        finally:
            await browser.close()


async def drawn(session: Session, path: str) -> float:
    """Milliseconds from the last byte of a timeline's columns to its first draw."""
    async with chromium_page(session, _DRAWN) as page:
        await page.goto(path)
        await page.wait_for_selector("#timeline[data-drawn]")
        await page.evaluate(_NEXT_FRAME)  # which the policy of the page allows, unlike a condition
        return float(await page.evaluate(_TOOK))
