"""A server that may open no more files answers, and says that it cannot where that is so."""

import asyncio
import resource
from pathlib import Path

import pytest

from tests.clients.conftest import AGENTS
from tests.support.connections import Connection
from tests.support.databases import Database
from tests.support.processes import API_KEY, ServerProcess

pytestmark = pytest.mark.anyio
AT_ONCE = 8
SCRIPT = """
turns:
  - steps:
      - text: one two three
"""


async def test_at_the_limit_of_open_files_reads_are_answered_and_nothing_is_500(
    tmp_path: Path, database: Database
) -> None:
    script = tmp_path / "script.yaml"
    script.write_text(SCRIPT)
    env = {"OUTLAST_DATABASE_URL": database.url}
    async with ServerProcess(tmp_path, AGENTS.format(script=script), env=env) as server:
        run = await server.background("desk", "Hi")
        wires = [
            Connection(*await asyncio.open_connection("127.0.0.1", server.port))
            for _ in range(AT_ONCE)
        ]
        for wire in wires:
            assert await status_of(wire, "/healthz") == 200
        _, hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (most_open(server.pid) + 1, hard))
        paths = ["/readyz", "/v1/agents", f"/v1/executions/{run}", "/v1/executions"]
        found: set[int] = set()
        for path in paths * 4:
            found |= set(await asyncio.gather(*(status_of(wire, path) for wire in wires)))
        assert found <= {200, 503}
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (hard, hard))
        for path in paths:
            assert (await server.http.get(path)).status_code == 200
        for wire in wires:
            wire.writer.transport.abort()


async def status_of(wire: Connection, path: str) -> int:
    await wire.send(f"GET {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {API_KEY}\r\n\r\n".encode())
    return (await wire.answer())[0]


def most_open(pid: int) -> int:
    """The highest number of a file that the process has open."""
    return max(int(file.name) for file in Path(f"/proc/{pid}/fd").iterdir())
