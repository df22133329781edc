"""MCP servers as processes, and a tool box that uses them."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from outlast import mcp_tools
from outlast.agents.call_images import CallImages
from outlast.agents.port import ToolContext
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.agent import AgentSpec, ToolSpec
from outlast.model.clock import SystemClock
from outlast.model.image import WholeImage
from tests.support.python_process import PythonProcess
from tests.support.waiting import BOUND, between_looks

ROOT = Path(__file__).parents[2]
CONTEXT = ToolContext("ws_1", "exec_1", "tc_1")
ODD = str(Path(__file__).with_name("odd_mcp_server.py"))
SDK = str(Path(__file__).with_name("mcp_server.py"))
ASKING = str(Path(__file__).with_name("asking_mcp_server.py"))


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port: int = listener.getsockname()[1]
        return port


class SdkServer:
    """The official SDK's server over HTTP, in a process of its own."""

    def __init__(self, folder: Path, transport: str = "http", asks: str | None = None) -> None:
        """`asks`: it is the server that asks, of an old or new protocol."""
        self.folder = folder
        self._asks = asks
        self.port = free_port()
        self._transport = transport
        self._process: PythonProcess | None = None

    @property
    def url(self) -> str:
        path = "mcp" if self._transport == "http" else "sse"
        return f"http://127.0.0.1:{self.port}/{path}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def _module(self) -> tuple[str, ...]:
        if self._asks is None:
            return ("tests.support.mcp_server", self._transport)
        return ("tests.support.asking_mcp_server", self._transport, self._asks)

    def start(self) -> None:
        with (self.folder / "server.out").open("ab") as out:
            self._process = PythonProcess(
                [sys.executable, "-m", *self._module, str(self.folder), str(self.port)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    async def ready(self) -> None:
        """Wait until it listens."""
        async with asyncio.timeout(BOUND):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    assert self._process is not None
                    assert self._process.poll() is None, (self.folder / "server.out").read_text()
                    await between_looks()
                else:
                    writer.close()
                    return

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def sdk_server(
    folder: Path, transport: str = "http", asks: str | None = None
) -> Iterator[SdkServer]:
    """Run a server; whether it listens is for `ready`."""
    server = SdkServer(folder, transport, asks)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def noted(folder: Path) -> list[str]:
    """Return what the tools of a server have written down."""
    file = folder / "calls"
    return file.read_text().splitlines() if file.exists() else []


async def until_noted(folder: Path, beginning: str, times: int = 1) -> None:
    async with asyncio.timeout(BOUND):
        while sum(line.startswith(beginning) for line in noted(folder)) < times:
            await between_looks()


class Tools:
    """A tool box with the tools of one source, listed."""

    def __init__(self, box: ToolBox, source: ToolSpec) -> None:
        self.box, self.source = box, source
        self._agent = AgentSpec("a", "m", tools=(source,))
        self.images: tuple[WholeImage, ...] = ()
        """Those that the last call has brought."""

    async def listed(self, context: ToolContext = CONTEXT) -> AgentSpec:
        return await self.box.listed(self._agent, context)

    async def names(self) -> list[str]:
        return [tool.name for tool in (await self.listed()).offered]

    async def spec(self, name: str, source: str = "shop") -> ToolSpec:
        found = (await self.listed()).tool(f"{source}__{name}")
        assert found is not None
        return found

    async def call(self, name: str, /, **arguments: Any) -> Any:
        context = replace(CONTEXT, images=CallImages())
        result = await self.box.call(await self.spec(name), arguments, context)
        self.images = context.images.kept
        return result

    @property
    def connections(self) -> int:
        return self.box.connections


@asynccontextmanager
async def tools_of(*, environ: dict[str, str] | None = None, **server: Any) -> AsyncIterator[Tools]:
    """Give the tools of a server named shop."""
    box = ToolBox(SystemClock(), environ={"PATH": os.environ["PATH"]} | (environ or {}))
    try:
        yield Tools(box, mcp_tools("shop", **server)[0])
    finally:
        async with asyncio.timeout(BOUND):
            await box.close()


def odd(folder: Path, behaviour: str) -> dict[str, Any]:
    """Return how the odd server is started."""
    return {"command": sys.executable, "args": ["-B", ODD, str(folder), behaviour]}


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not waited for does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(BOUND):
        while lives(pid):
            await between_looks()


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
