"""A real browser without a screen, and the little web server whose page it opens."""

import asyncio
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlencode

import orjson
import pytest

from outlast.agents.browser.settings import find_browser
from tests.support.waiting import BOUND

PROGRAM: Final = (
    os.environ.get("OUTLAST_TEST_BROWSER")
    or shutil.which("chromium-headless-shell")
    or find_browser("")
)
"""The browser of the tests; None where the machine has none. The shell takes half the CPU."""
_HERE: Final = Path(__file__).parents[1] / "clients"
_FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)


class PageServer:
    """Serves `page.html`, and gets what the page posts to `/heard`."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._heard: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    @property
    def origin(self) -> str:
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def heard(self) -> Any:
        """What the page has posted."""
        async with asyncio.timeout(BOUND):
            return await self._heard

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            except asyncio.IncompleteReadError:  # browsers open connections that they may not need
                return
            await self._answer(head, reader, writer)

    async def _answer(
        self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        body = b""
        if head.startswith(("get / ", "get /?")):
            body = (_HERE / "page.html").read_bytes()
        elif head.startswith("post /heard "):
            length = int(head.split("content-length: ")[1].split("\r\n", maxsplit=1)[0])
            self._heard.set_result(orjson.loads(await reader.readexactly(length)))
        answer = f"content-type: text/html\r\ncontent-length: {len(body)}\r\nconnection: close"
        writer.write(f"HTTP/1.1 200 OK\r\n{answer}\r\n\r\n".encode() + body)
        await writer.drain()


@asynccontextmanager
async def opened(folder: Path, url: str, **query: str) -> AsyncIterator[None]:
    """A page open in Chromium; skips where the machine has none."""
    if PROGRAM is None:
        pytest.skip("Chromium is not installed")
    profile = f"--user-data-dir={folder / 'profile'}"
    with (folder / "chromium.log").open("w") as log:
        browser = subprocess.Popen(  # noqa: ASYNC220 - returns at once
            [PROGRAM, *_FLAGS, profile, f"{url}/?{urlencode(query)}"],
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()
