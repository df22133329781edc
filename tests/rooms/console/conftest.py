"""The server of the tests in a browser, and the server of its tools."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from outlast.rooms.console.render import page
from tests.support.chromium import kept_chromium
from tests.support.console_server import AGENTS, SCRIPT
from tests.support.processes import CountingToolServer, ServerProcess

page._compile()  # once for all processes that share a run


@pytest.fixture
async def tools() -> AsyncIterator[CountingToolServer]:
    async with CountingToolServer() as serving:
        yield serving


@pytest.fixture
async def server(tmp_path: Path, tools: CountingToolServer) -> AsyncIterator[ServerProcess]:
    script = tmp_path / "script.yaml"
    script.write_text(SCRIPT)
    agents = AGENTS.replace("script.yaml", str(script)).replace("TOOLS", tools.url)
    async with ServerProcess(tmp_path, agents) as serving:
        yield serving


@pytest.fixture(scope="package")
async def one_chromium(anyio_backend: Any) -> AsyncIterator[None]:
    """The same Chromium for all tests of the console; each has windows and cookies of its own."""
    del anyio_backend  # its event loop is that of all
    async with kept_chromium():
        yield
