"""A fleet: API processes and workers on one Postgres, and the provider and tools that they call."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx2
import orjson
import psycopg

from tests.support import kept_connections
from tests.support.postgres import Cluster
from tests.support.processes import (
    API_KEY,
    ApiProcess,
    CountingToolServer,
    Frame,
    OutlastProcess,
    WorkerProcess,
    frames_of,
)
from tests.support.provider import FakeProvider
from tests.support.waiting import BOUND, LOOK_SECONDS, until_found

TAKEOVER_SECONDS: Final = 3
PLACES: Final = 100
"""Segments that one worker runs at a time."""
WORD_MILLIS: Final = 3.0
SPOKEN: Final = 100
"""The words of a speaker, who takes four seconds for them."""

AGENTS: Final = """
agents:
{counters}
  - name: speaker
    model: openai-chat:words-{spoken}-delay-40
  - name: brief
    model: openai-chat:words-1-delay-0
  - name: talker
    model: openai-chat:words-4000-delay-50
  - name: expiring
    model: openai-chat:tool
    tools:
      - name: count
        description: Count one more
        parameters: {{type: object, properties: {{}}}}
        http: {{url: "{url}", timeout: 50}}
        effect: destructive
        approval: {{expires: 2, default: approve}}
{trees}
"""
_COUNTER: Final = """
  - name: {effect}
    model: openai-chat:tool
    tools:
      - name: count
        description: Count one more
        parameters: {{type: object, properties: {{}}}}
        http: {{url: "{url}", timeout: 50, headers: {{X-Caller: "${{FLEET_NAME}}"}}}}
        effect: {effect}
"""
_TREES: Final = """
  - name: upper
    model: openai-chat:tools-2
    tools: [{{agent: middle}}, {count}]
  - name: middle
    model: openai-chat:tools-2
    tools: [{{agent: idempotent}}, {count}]
  - name: chief
    model: openai-chat:tool
    tools: [{{agent: boss}}]
  - name: boss
    model: openai-chat:tool
    tools: [{{agent: payer}}]
  - name: payer
    model: openai-chat:tool
    tools:
      - name: pay
        description: Pay once
        parameters: {{type: object, properties: {{}}}}
        http: {{url: "{url}", timeout: 50}}
        effect: destructive
        approval: true
"""
"""Two trees of three levels: one that counts on each level, and one that pays on the lowest."""
_COUNT: Final = (
    "{{name: count, description: Count one more, parameters: {{type: object, properties: {{}}}}, "
    "effect: idempotent, "
    'http: {{url: "{url}", timeout: 50, headers: {{X-Caller: "${{FLEET_NAME}}"}}}}}}'
)
_ORPHANS: Final = """
SELECT id FROM executions WHERE status IN ('queued', 'running') AND NOT waiting AND NOT EXISTS (
    SELECT FROM procrastinate_jobs WHERE lock = executions.id AND status IN ('todo', 'doing'))
"""


@dataclass(frozen=True, slots=True)
class Log:
    """The frames of one execution, as a client got them."""

    frames: tuple[Frame, ...]

    @property
    def data(self) -> list[dict[str, Any]]:
        return [orjson.loads(data) for _, data in self.frames]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [frame for frame in self.data if frame["type"] == kind]

    def retries(self, step: int) -> int:
        """How often a step was run again."""
        return sum(frame["step"] == step for frame in self.of("retry"))

    @property
    def standing(self) -> list[Frame]:
        """Without the text that was voided: a power cut may have taken it from the log again."""
        found: list[Frame] = []
        for frame, data in zip(self.frames, self.data, strict=True):
            if data["type"] == "retry":
                while b'"type":"text_delta"' in found[-1][1]:
                    found.pop()
            found.append(frame)
        return found

    @property
    def over(self) -> bool:
        return bool(self.of("done") or self.of("error"))

    @property
    def cursors(self) -> list[tuple[int, int]]:
        return [cursor_of(frame) for frame in self.frames]


def cursor_of(frame: Frame) -> tuple[int, int]:
    segment, _, seq = frame[0].partition("-")
    return int(segment), int(seq)


class Fleet:
    """Two API processes `a` and `b`, workers `w1` to `w3`, and more where a test starts them."""

    def __init__(
        self, folder: Path, cluster: Cluster, provider: FakeProvider, tools: CountingToolServer
    ) -> None:
        self.folder, self.cluster, self.provider, self.tools = folder, cluster, provider, tools
        self.url = cluster.url("fleet")
        self.processes: dict[str, OutlastProcess] = {}
        self.clients: dict[str, httpx2.AsyncClient] = {}
        """Clients of the processes that ever were, by their names."""
        self._frozen: set[str] = set()

    # --- processes

    async def start(self, *names: str, **settings: str) -> None:
        """Start processes at the same time, those that were there before on their old ports."""
        for name in names:
            if name not in self.processes:
                self.processes[name] = self._make(name, settings)
        await asyncio.gather(*(self.processes[name].start() for name in names))
        for name in set(names) - set(self.clients):
            self.clients[name] = httpx2.AsyncClient(
                base_url=f"http://127.0.0.1:{self.processes[name].port}",
                headers={"authorization": f"Bearer {API_KEY}"},
                timeout=BOUND,
                limits=httpx2.Limits(max_connections=None, max_keepalive_connections=20),
            )

    def _make(self, name: str, settings: dict[str, str]) -> OutlastProcess:
        folder = self.folder / name
        folder.mkdir()
        counters = "".join(
            _COUNTER.format(effect=effect, url=self.tools.url)
            for effect in ("idempotent", "read_only", "destructive")
        )
        trees = _TREES.format(url=self.tools.url, count=_COUNT.format(url=self.tools.url))
        env = {
            "OUTLAST_DATABASE_URL": self.url,
            "OUTLAST_TAKEOVER_SECONDS": str(TAKEOVER_SECONDS),
            "OUTLAST_CONCURRENCY": str(PLACES),
            "OUTLAST_SECRET_KEY": "the one secret of this fleet",
            "OPENAI_BASE_URL": self.provider.url,
            "FLEET_NAME": name,
        }
        kind = WorkerProcess if name.startswith("w") else ApiProcess
        return kind(
            folder,
            AGENTS.format(counters=counters, spoken=SPOKEN, url=self.tools.url, trees=trees),
            env | settings,
        )

    async def kill(self, *names: str) -> None:
        await asyncio.gather(*(self.processes[name].kill() for name in names))

    async def leave(self, *names: str) -> None:
        """SIGTERM them; each must say that it left in order."""
        processes = [self.processes[name] for name in names]
        codes = await asyncio.gather(*(process.signal(signal.SIGTERM) for process in processes))
        assert not any(codes), codes

    def freeze(self, name: str) -> None:
        os.kill(self.processes[name].pid, signal.SIGSTOP)
        self._frozen.add(name)

    def thaw(self, name: str) -> None:
        os.kill(self.processes[name].pid, signal.SIGCONT)
        self._frozen.discard(name)

    @asynccontextmanager
    async def only(self, name: str) -> AsyncIterator[None]:
        """Meanwhile no other worker of the five does anything."""
        others = [other for other in FIVE if other.startswith("w") and other != name]
        for other in others:
            self.freeze(other)
        try:
            yield
        finally:
            for other in others:
                self.thaw(other)

    async def mend(self) -> None:
        """All five run and nothing is held back, whatever the test before has done."""
        self.tools.answering.set()
        self.provider.delay_ms = WORD_MILLIS
        for name in tuple(self._frozen):
            self.thaw(name)
        await self.start(*(name for name in FIVE if not self.processes[name].runs))
        await self.ready(*FIVE)

    async def close(self) -> None:
        for client in self.clients.values():
            await client.aclose()
        for name in tuple(self._frozen):
            self.thaw(name)
        await self.kill(*(name for name, process in self.processes.items() if process.runs))

    async def ready(self, *names: str) -> None:
        """Return once these take work."""
        for name in names:
            await until_found(partial(self._answers, name, "/readyz"))

    async def _answers(self, name: str, path: str) -> bool:
        with suppress(httpx2.TransportError):
            return (await self.clients[name].get(path)).is_success
        return False

    # --- what the tables and the metrics say

    async def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            cursor = await connection.execute(statement, values)
            return await cursor.fetchall() if cursor.description else []

    async def orphans(self) -> list[tuple[Any, ...]]:
        """Executions that should have a job and have none, in one moment of the database."""
        return await self.rows(_ORPHANS)

    async def metric(self, name: str, metric: str) -> float:
        text = (await self.clients[name].get("/metrics")).text
        found = re.findall(rf"^{metric}(?:{{.*}})? (\S+)", text, re.MULTILINE)
        return sum(map(float, found))

    async def taken_over(self, *names: str) -> float:
        """How many executions these have taken from silent workers."""
        counts = [await self.metric(name, "outlast_jobs_taken_over_total") for name in names]
        return sum(counts)

    async def leaders(self) -> list[str]:
        """Who does the maintenance of all, as the processes that answer say."""
        names = [n for n, one in self.processes.items() if one.runs and n not in self._frozen]
        return [n for n in names if await self.metric(n, "outlast_maintenance_leader")]

    async def leader(self) -> str:
        """Who does it, once it is one."""

        async def one() -> str | None:
            found = await self.leaders()
            return found[0] if len(found) == 1 else None

        return str(await until_found(one))

    async def said(self, name: str, event: str) -> int:
        """How often a process logged an event."""
        return self.processes[name].log.read_text().count(event)

    # --- what clients do

    async def background(self, api: str, agent: str, text: str = "Go") -> str:
        """Start an execution; its id."""
        answer = await self.clients[api].post(
            f"/v1/agents/{agent}/execute", json={"input": text, "background": True}
        )
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def many(self, agent: str, count: int, apis: Iterable[str] = ("a", "b")) -> list[str]:
        """Start so many executions over these API processes in turn; their ids."""
        names = tuple(apis)
        return list(
            await asyncio.gather(
                *(self.background(names[n % len(names)], agent, f"run {n}") for n in range(count))
            )
        )

    async def execution(self, api: str, execution_id: str) -> dict[str, Any]:
        answer = await self.clients[api].get(f"/v1/executions/{execution_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def stream(
        self, api: str, execution_id: str, after: str | None = None
    ) -> AsyncGenerator[Frame, None]:
        """Frames as they come; ends with the stream or the process."""
        path = f"/v1/executions/{execution_id}/stream"
        async with aclosing(frames_of(self.clients[api], path, after)) as frames:
            async for frame in frames:
                yield frame

    async def log(self, api: str, execution_id: str) -> Log:
        """The whole log of an execution that ends, from one API process."""
        return await self.follow(execution_id, api)

    async def follow(
        self, execution_id: str, *apis: str, heard: Callable[[Frame], None] | None = None
    ) -> Log:
        """As a client does who comes back with what it has, to one API process or the next."""
        frames: list[Frame] = []
        turns = 0
        async with asyncio.timeout(BOUND):
            while not Log(tuple(frames[-1:])).over:
                after = frames[-1][0] if frames else None
                api = apis[turns % len(apis)]
                async with aclosing(self.stream(api, execution_id, after)) as stream:
                    async for frame in stream:
                        frames.append(frame)
                        if heard is not None:
                            heard(frame)
                turns += 1
                if not Log(tuple(frames[-1:])).over:
                    await asyncio.sleep(LOOK_SECONDS)
        return Log(tuple(frames))

    async def logs(self, api: str, ids: Iterable[str]) -> dict[str, Log]:
        """The whole logs of executions that end."""
        names = list(ids)
        found = await asyncio.gather(*(self.log(api, name) for name in names))
        return dict(zip(names, found, strict=True))


FIVE: Final = ("a", "b", "w1", "w2", "w3")


@asynccontextmanager
async def running_fleet(folder: Path, cluster: Cluster) -> AsyncIterator[Fleet]:
    """The five processes, started at once on an empty database, with their provider and tools."""
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(FakeProvider(delay_ms=WORD_MILLIS, record=False))
        tools = await stack.enter_async_context(CountingToolServer())
        with psycopg.connect(cluster.url(), autocommit=True) as connection:
            connection.execute("CREATE DATABASE fleet")
        kept_connections.keep("fleet")  # a new one for each look would cost more than all else
        stack.callback(kept_connections.end, "fleet")
        fleet = Fleet(folder, cluster, provider, tools)
        stack.push_async_callback(fleet.close)
        await fleet.start(*FIVE)
        yield fleet


def durable_cluster() -> Cluster:
    """A Postgres that is killed, and must not forget then."""
    return Cluster(fsync="on", full_page_writes="on")
