"""A real Chromium, driven by Playwright, that notes what a page must not do."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from playwright.async_api import Browser, Page, async_playwright

from tests.support.waiting import BOUND

_FLAGS: Final = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic")
_LISTEN: Final = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
"""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The machine's Chromium; skips where it has none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("Chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=[*_FLAGS])
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
        network = ("Failed to load resource", "net::", "network error", "Failed to fetch")
        if message.type == "error" and not any(word in message.text for word in network):
            self.faults.append(message.text)

    async def goto(self, path: str) -> None:
        await self.page.goto(self.url + path)


@asynccontextmanager
async def visit(browser: Browser, url: str, **options: Any) -> AsyncIterator[Visit]:
    """A new page without cookies; at its end it must have done nothing that it must not."""
    context = await browser.new_context(**options)
    await context.add_init_script(_LISTEN)
    page = await context.new_page()
    page.set_default_timeout(BOUND * 1000)
    visited = Visit(page, url)
    try:
        yield visited
    finally:
        await context.close()
    assert not visited.faults, visited.faults
