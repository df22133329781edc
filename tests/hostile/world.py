"""What attacks share: waiting, the size of a process, and a server to attack."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Self

from tests.processes import ServerProcess
from tests.provider import FakeProvider

BOUND: Final = 120.0
AGENTS: Final = """
agents:
  - {name: echo, model: "openai-chat:echo"}
  - {name: words, model: "openai-chat:words-12"}
  - {name: slow, model: "openai-chat:words-40-delay-20"}
"""


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = BOUND) -> Any:
    """Look again and again until there is what is looked for; return it."""
    async with asyncio.timeout(seconds):
        while not (found := await condition()):  # noqa: ASYNC110 - another process sets no event here
            await asyncio.sleep(0.05)
    return found


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
async def attacked(
    folder: Path, **environment: str
) -> AsyncIterator[tuple[ServerProcess, FakeProvider]]:
    """A server on SQLite and its provider."""
    async with FakeProvider(record=False) as provider:
        env = {"OPENAI_BASE_URL": provider.url} | environment
        async with ServerProcess(folder, AGENTS, env) as server:
            yield server, provider
