"""Real servers in processes of their own, and a tool server that keeps count."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Self

import httpx2
import orjson

from tests.support.python_process import PythonProcess
from tests.support.waiting import BOUND

API_KEY = "sk_test_key_of_the_tests"


Frame = tuple[str, bytes]
"""(id, data)"""


async def frames_of(
    http: httpx2.AsyncClient, path: str, after: str | None = None
) -> AsyncGenerator[Frame, None]:
    """A stream's frames as they come, behind one where one is given; ends with its server too."""
    headers = {} if after is None else {"last-event-id": after}
    with contextlib.suppress(httpx2.TransportError):
        async with http.stream("GET", path, headers=headers) as answer:
            cursor = ""
            async for line in answer.aiter_lines():
                if line.startswith("id: "):
                    cursor = line[4:]
                elif line.startswith("data: "):
                    yield cursor, line[6:].encode()


class DidNotStartError(Exception):
    """The exit code, and what was said."""

    def __init__(self, code: int, said: str) -> None:
        super().__init__(code, said)
        self.code, self.said = code, said


class OutlastProcess:
    """One `outlast` on a data folder; it may be killed and started again on the same port."""

    command: Sequence[str] = ("serve",)

    def __init__(self, folder: Path, agents: str, env: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.agents = folder / "agents.yaml"
        self.agents.write_text(agents)
        self.port = 0
        self._env = dict(env or {})
        self._process: PythonProcess | None = None

    async def start(self) -> Self:
        """Start and wait until it says where it answers. Raises DidNotStartError."""
        environment = os.environ | {
            "OUTLAST_DATA_DIR": str(self.folder / "data"),
            "OUTLAST_API_KEY": API_KEY,
            "OPENAI_API_KEY": "unused",
            **self._env,
        }
        command = [*self.command, "--agents", str(self.agents), "--port", str(self.port)]
        with self.log.open("a") as log:
            self._process = PythonProcess(
                [sys.executable, "-m", "outlast", *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        async with asyncio.timeout(BOUND):
            line = await asyncio.to_thread(self._process.stdout.readline)
        if "on http://127.0.0.1:" not in line:
            if line:
                self._process.kill()
            self._process.communicate()
            code, self._process = self._process.returncode, None
            raise DidNotStartError(code, line + self.log.read_text())
        self.port = int(line.split("http://127.0.0.1:")[1].split()[0])
        return self

    @property
    def log(self) -> Path:
        """What it wrote to standard error."""
        return self.folder / "server.log"

    @property
    def runs(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def signal(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end; the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        """Wait for the end; the exit code."""
        assert self._process is not None
        assert self._process.stdout is not None
        async with asyncio.timeout(BOUND):
            code = await asyncio.to_thread(self._process.wait)
        self._process.stdout.close()
        self._process = None
        return code

    async def kill(self) -> None:
        """End it as a power cut would."""
        await self.signal(signal.SIGKILL)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            await self.kill()


class WorkerProcess(OutlastProcess):
    """`outlast worker`; its port answers for its health."""

    command = ("worker",)


class ServerProcess(OutlastProcess):
    """`outlast serve`, and a client of it."""

    _http: httpx2.AsyncClient | None = None

    @property
    def http(self) -> httpx2.AsyncClient:
        assert self._http is not None
        return self._http

    async def start(self) -> Self:
        await super().start()
        self._http = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"authorization": f"Bearer {API_KEY}"},
            timeout=BOUND,
            limits=httpx2.Limits(max_connections=None),
        )
        return self

    async def ended(self) -> int:
        if self._http is not None:
            await self._http.aclose()
        return await super().ended()

    # --- what clients do

    async def background(self, agent: str, text: str, **more: Any) -> str:
        """Start an execution; its id."""
        answer = await self.http.post(
            f"/v1/agents/{agent}/execute", json={"input": text, "background": True, **more}
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def execution(self, execution_id: str) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/executions/{execution_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def frames(
        self, execution_id: str, last_event_id: str | None = None
    ) -> list[tuple[str, bytes]]:
        """The stream to its end: (cursor, data) of every frame."""
        found = []
        async with aclosing(self.stream(execution_id, last_event_id)) as frames:
            async for frame in frames:
                found.append(frame)  # noqa: PERF401 - an async generator cannot be a list
        return found

    async def stream(
        self, execution_id: str, last_event_id: str | None = None
    ) -> AsyncGenerator[Frame, None]:
        """Frames as they come; ends with the stream or the server."""
        path = f"/v1/executions/{execution_id}/stream"
        async with aclosing(frames_of(self.http, path, last_event_id)) as frames:
            async for frame in frames:
                yield frame


class ApiProcess(ServerProcess):
    """`outlast serve --no-worker`: it runs no execution itself."""

    command = ("serve", "--no-worker")


class CountingToolServer:
    """An HTTP tool that counts its calls by idempotency key."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.executions: dict[str, set[str]] = {}
        self.callers: dict[str, list[str]] = {}
        """Who made the calls of a key, in order: the header `X-Caller`."""
        self.arguments: dict[str, list[Any]] = {}
        """What the calls of a key said, in order."""
        self.answering = asyncio.Event()
        """Calls wait for it before they are answered."""
        self.answering.set()
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self.answering.set()
        self._server.close()

    @property
    def url(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/tools/count"

    async def counted(self, calls: int) -> None:
        """Return once so many calls have come in."""
        await self.until(lambda: self.calls.total() >= calls)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once the calls that have come in fulfil a condition."""
        async with asyncio.timeout(BOUND):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                pairs = [line.split(": ", 1) for line in head.strip().split("\r\n")[1:]]
                headers = {name.lower(): value for name, value in pairs}
                said = orjson.loads(await reader.readexactly(int(headers["content-length"])))
                if (key := headers.get("idempotency-key")) is None:
                    break  # of another test, whose server had this port before
                self.arguments.setdefault(key, []).append(said)
                self.calls[key] += 1
                self.executions.setdefault(key, set()).add(headers["outlast-execution-id"])
                self.callers.setdefault(key, []).append(headers.get("x-caller", ""))
                self._changed.set()
                await self.answering.wait()
                body = orjson.dumps({"count": self.calls[key]})
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                    b"content-length: %d\r\n\r\n" % len(body) + body
                )
                await writer.drain()
        writer.close()


def named_below(ours: set[int], name: str) -> set[int]:
    """Return the processes with this in their name that descend from one of these."""
    parents: dict[int, int] = {}
    named: set[int] = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = status.read_text().partition(" (")
        except OSError:
            continue
        found, _, values = rest.rpartition(") ")
        parents[int(pid)] = int(values.split()[1])
        if name in found:
            named.add(int(pid))

    def is_below(pid: int) -> bool:
        while pid in parents and pid not in ours:
            pid = parents[pid]
        return pid in ours

    return {pid for pid in named if is_below(pid)}
