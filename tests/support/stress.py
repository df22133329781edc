"""A server under attack: its memory, its open files, and whether it still answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

from tests.support.processes import ServerProcess
from tests.support.provider import FakeProvider

AGENTS: Final = """
agents:
  - {name: echo, model: "openai-chat:echo"}
  - {name: words, model: "openai-chat:words-12"}
  - {name: slow, model: "openai-chat:words-40-delay-20"}
"""


def resident_mib(pid: int) -> float:
    """Memory that a process holds."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(pid)


class Probe:
    """Asks a server whether it is ready, over and over, and keeps the longest wait for the answer.

    What an event loop does while it stands still it does to this request too.
    """

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        self.longest = 0.0

    async def __aenter__(self) -> Self:
        self._asking = asyncio.create_task(self._ask(), name="probe")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._asking.cancel()
        await asyncio.wait({self._asking})

    async def _ask(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            answer = await self._server.http.get("/readyz")
            assert answer.status_code == 200
            self.longest = max(self.longest, loop.time() - began)
            await asyncio.sleep(0.02)


def open_files(pid: int) -> int:
    """How many files and sockets a process has open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


@asynccontextmanager
async def server_and_provider(
    folder: Path, **environment: str
) -> AsyncIterator[tuple[ServerProcess, FakeProvider]]:
    """A server on SQLite and its provider."""
    async with FakeProvider(record=False) as provider:
        env = {"OPENAI_BASE_URL": provider.url} | environment
        async with ServerProcess(folder, AGENTS, env) as server:
            yield server, provider
