"""Every process of a deployment on one database, all of them killed and started together.

On SQLite that is one `outlast serve`; on Postgres two API processes and two workers.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any, Final

import httpx2
import orjson

from tests.support.browser import PROGRAM
from tests.support.databases import SQLITE, Database
from tests.support.fleet import Log
from tests.support.processes import (
    API_KEY,
    ApiProcess,
    CountingToolServer,
    Frame,
    OutlastProcess,
    ServerProcess,
    WorkerProcess,
    frames_of,
)
from tests.support.provider import FakeProvider
from tests.support.python_process import PythonProcess
from tests.support.waiting import BOUND, until_found

TAKEOVER_SECONDS: Final = 2
_ALONE: Final[Mapping[str, type[OutlastProcess]]] = {"s": ServerProcess}
_MANY: Final[Mapping[str, type[OutlastProcess]]] = {
    "a": ApiProcess,
    "b": ApiProcess,
    "w1": WorkerProcess,
    "w2": WorkerProcess,
}


class Deployment:
    """All processes, what they call, and their clients."""

    def __init__(
        self, folder: Path, database: Database, provider: FakeProvider, tools: CountingToolServer
    ) -> None:
        self.folder, self.database, self.provider, self.tools = folder, database, provider, tools
        env = {
            "OUTLAST_DATABASE_URL": database.url,
            "OUTLAST_TAKEOVER_SECONDS": str(TAKEOVER_SECONDS),
            "OUTLAST_SECRET_KEY": "the one secret of this site",
            "OPENAI_BASE_URL": provider.url,
            "OUTLAST_BROWSER_PATH": PROGRAM or "",
        }
        kinds = _ALONE if database.kind == SQLITE else _MANY
        self.processes = {name: kind(folder, "", env) for name, kind in kinds.items()}
        self.clients: list[httpx2.AsyncClient] = []
        """Two clients: one of each API process, or both of the only one."""
        self._stack = AsyncExitStack()

    # --- processes

    def deploy(self, agents: str, file: str | None = None) -> None:
        """Lay down what the next start reads, in place of what is there unless `file` is another.

        `TOOLS` in it is the URL of the tool server.
        """
        [*_, path] = (process.agents for process in self.processes.values())
        if file is not None:
            path = self.folder / file
        path.write_text(agents.replace("TOOLS", self.tools.url))
        for process in self.processes.values():
            process.agents = path

    async def start(self) -> None:
        await asyncio.gather(*(process.start() for process in self.processes.values()))
        if not self.clients:
            self.clients = [await self.client_of(API_KEY, n) for n in range(2)]
        async with asyncio.timeout(BOUND):
            await asyncio.gather(*(self._answers(name) for name in self.processes))

    async def kill(self) -> None:
        """End all of them as a power cut would."""
        await asyncio.gather(*(process.kill() for process in self.processes.values()))

    async def again(self, agents: str | None = None) -> None:
        """Kill all and start them, on another agents file where one is given."""
        await self.kill()
        if agents is not None:
            self.deploy(agents)
        await self.start()

    async def close(self) -> None:
        await self._stack.aclose()
        for process in self.processes.values():
            if process.runs:
                await process.kill()

    async def client_of(self, key: str, number: int) -> httpx2.AsyncClient:
        """Return a client with this key, of the API process with this number."""
        apis = [p for p in self.processes.values() if isinstance(p, ServerProcess)]
        client = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{apis[number % len(apis)].port}",
            headers={"authorization": f"Bearer {key}"},
            timeout=BOUND,
            limits=httpx2.Limits(max_connections=None),
        )
        return await self._stack.enter_async_context(client)

    async def _answers(self, name: str) -> None:
        url = f"http://127.0.0.1:{self.processes[name].port}/readyz"
        async with httpx2.AsyncClient(timeout=BOUND) as client:
            assert (await client.get(url)).is_success

    async def command(self, *arguments: str) -> str:
        """What `outlast …` says on standard output; it must succeed."""
        port = str(self.clients[0].base_url.port)
        settings = {"OUTLAST_API_KEY": API_KEY, "OUTLAST_PORT": port}
        process = PythonProcess(
            [sys.executable, "-m", "outlast", *arguments],
            env=os.environ
            | settings
            | {
                "OUTLAST_DATA_DIR": str(self.folder / "data"),
                "OUTLAST_DATABASE_URL": self.database.url,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        async with asyncio.timeout(BOUND):
            out, err = await asyncio.to_thread(process.communicate)
        assert process.returncode == 0, err.decode()
        return str(out.decode())

    # --- what clients do

    async def get(self, path: str, client: int = 0, **params: Any) -> dict[str, Any]:
        answer = await self.clients[client].get(path, params=params)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def post(self, path: str, client: int = 0, **body: Any) -> httpx2.Response:
        return await self.clients[client].post(path, json=body)

    async def started(self, agent: str, text: str = "Go") -> str:
        """Start an execution; its id."""
        answer = await self.post(f"/v1/agents/{agent}/execute", input=text, background=True)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def suspended(self, agent: str, text: str = "Go") -> dict[str, Any]:
        """An execution that has come to wait for a person."""
        answer = await self.post(f"/v1/agents/{agent}/execute", input=text)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        assert found["status"] == "suspended", found
        return found

    async def execution(self, name: str) -> dict[str, Any]:
        return await self.get(f"/v1/executions/{name}")

    async def pending(self, name: str) -> dict[str, Any]:
        """The only question of an execution, once it waits for an answer."""

        async def waits() -> list[Any]:
            execution = await self.execution(name)
            return execution["pendingApprovals"] if execution["status"] == "suspended" else []

        [found] = await until_found(waits, BOUND)
        question: dict[str, Any] = found
        return question

    async def decide(
        self, name: str, call: str, approved: bool, client: int = 0, **more: Any
    ) -> httpx2.Response:
        path = f"/v1/executions/{name}/approvals/{call}"
        return await self.post(path, client, approved=approved, **more)

    async def stream(
        self, name: str, after: str | None = None, client: int = 0, format: str | None = None
    ) -> AsyncGenerator[Frame, None]:
        """Frames as they come; ends with the stream or the process. `format`: the runs room's."""
        path = f"/v1/executions/{name}/stream"
        if format is not None:
            path = f"/run/api/executions/{name}/stream?format={format}"
        async with aclosing(frames_of(self.clients[client], path, after)) as frames:
            async for frame in frames:
                yield frame

    async def frames(
        self, name: str, after: str | None = None, format: str | None = None
    ) -> list[Frame]:
        """The stream to its end, behind a cursor where one is given."""
        found: list[Frame] = []
        async with asyncio.timeout(BOUND):
            async with aclosing(self.stream(name, after, format=format)) as stream:
                async for frame in stream:
                    found.append(frame)  # noqa: PERF401 - an async generator cannot be a list
        return found

    async def log(self, name: str) -> Log:
        """The whole log of an execution that ends."""
        log = Log(tuple(await self.frames(name)))
        assert log.over
        return log

    async def ended(self, name: str) -> dict[str, Any]:
        """An execution at its end, which must be a good one."""
        await self.log(name)
        execution = await self.execution(name)
        assert execution["status"] == "completed", execution["error"]
        return execution


class Listener:
    """A client that reads an execution's stream until the server dies, and then comes back."""

    def __init__(self, deployment: Deployment, name: str, client: int, format: str | None) -> None:
        self._deployment, self._name, self._format = deployment, name, format
        self._heard: list[Frame] = []
        self._suspended = asyncio.Event()
        self._listening = asyncio.create_task(self._listen(client))

    async def _listen(self, client: int) -> None:
        stream = self._deployment.stream(self._name, client=client, format=self._format)
        async with aclosing(stream) as frames:
            async for frame in frames:
                self._heard.append(frame)
                if b"approval" in frame[1]:
                    self._suspended.set()

    async def until_suspended(self) -> None:
        """Return once it has read that a person's decision is needed."""
        async with asyncio.timeout(BOUND):
            await self._suspended.wait()

    async def whole(self) -> list[Frame]:
        """What was read before the death, and what follows its last id to the end."""
        async with asyncio.timeout(BOUND):
            await self._listening
        behind = await self._deployment.frames(self._name, self._heard[-1][0], self._format)
        return [*self._heard, *behind]


def loads(text: str) -> Any:
    """JSON that a command wrote."""
    return orjson.loads(text)
