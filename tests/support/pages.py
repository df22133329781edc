"""Web pages on loopback, and agents' tools on a real browser that opens them."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, Self

import pytest

from outlast.agents.browser.held import HeldBrowser
from outlast.agents.browser.settings import BrowserSettings
from outlast.agents.port import ToolContext
from outlast.agents.tools.browser_kind import browser_tools
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import ToolSpec
from outlast.model.clock import SystemClock
from outlast.model.image import WholeImage
from tests.support.browser import PROGRAM

needs_chromium: Final = pytest.mark.skipif(PROGRAM is None, reason="there is no Chrome or Chromium")

_REFERENCE: Final = re.compile(r"\[ref=(\w+)\]")


@dataclass
class Page:
    body: str | bytes = ""
    status: str = "200 OK"
    headers: dict[str, str] = field(default_factory=dict)


def moved(url: str) -> Page:
    return Page("", "302 Found", {"location": url})


class Site:
    """Serves pages by path, and keeps what was requested."""

    def __init__(self, pages: Mapping[str, Page | Callable[[str], Page]]) -> None:
        self.pages = dict(pages)
        self.requests: list[str] = []
        """The heads of all requests."""
        self.connections = 0
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [head.split(" ")[1] for head in self.requests]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(OSError, EOFError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.requests.append(head)
            found = self.pages.get(head.split(" ")[1].partition("?")[0], Page("", "404 Not Found"))
            page = found if isinstance(found, Page) else found(head)
            body = page.body.encode() if isinstance(page.body, str) else page.body
            headers = {"content-type": "text/html; charset=utf-8"} | page.headers
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            length = f"content-length: {len(body)}\r\n"
            writer.write(f"HTTP/1.1 {page.status}\r\n{lines}{length}\r\n".encode() + body)
            await writer.drain()
        writer.close()


@dataclass
class Browsing:
    """Calls the tools of one execution's browser."""

    box: ToolBox
    tools: dict[str, ToolSpec]
    held: HeldBrowser = field(default_factory=lambda: HeldBrowser(SystemClock().monotonic))
    last: dict[str, Any] = field(default_factory=dict)
    images: tuple[WholeImage, ...] = ()
    """Those that the last call has brought."""

    async def __call__(self, action: str, **arguments: Any) -> dict[str, Any]:
        context = ToolContext("ws_1", "exec_1", "tc_1", browser=self.held)
        spec = self.tools[f"browser_{action}"]
        self.last = await self.box.call(spec, arguments, context)
        self.images = context.images.kept
        return self.last

    def ref(self, what: str) -> dict[str, str]:
        """Arguments for the first element of the last snapshot whose line has this text."""
        line = next(line for line in self.last["snapshot"].splitlines() if what in line)
        found = _REFERENCE.search(line)
        assert found is not None, line
        return {"element": what, "ref": found[1]}

    def another(self, **options: Any) -> "Browsing":
        """The browser of another execution."""
        tools = {tool.name: tool for tool in browser_tools(**options)} if options else self.tools
        return Browsing(self.box, tools)


_kept: list[ToolBox] = []
"""The one of every call of `browsing` that sets nothing, if there is one."""


@asynccontextmanager
async def kept_browser() -> AsyncIterator[None]:
    """Meanwhile `browsing` starts no other browser unless it is given settings; in one loop."""
    box = ToolBox(SystemClock(), browser=BrowserSettings(path=PROGRAM or ""))
    _kept.append(box)
    try:
        yield
    finally:
        _kept.remove(box)
        await box.close()


@asynccontextmanager
async def browsing(
    settings: BrowserSettings | None = None, **options: Any
) -> AsyncIterator[Browsing]:
    """Tools of a browser in this process, by `browser_tools` of these options."""
    is_kept = bool(_kept) and settings is None
    given = settings or BrowserSettings(idle_seconds=0)
    if not given.path:
        given = replace(given, path=PROGRAM or "")
    box = _kept[0] if is_kept else ToolBox(SystemClock(), browser=given)
    tools = {tool.name: tool for tool in browser_tools(**options)}
    made = Browsing(box, tools)
    try:
        yield made
    finally:
        await made.held.close()
        if not is_kept:
            await box.close()
