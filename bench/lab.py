"""What a figure works with: fake provider, tool server, servers under test, room on the disk."""

import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.client import Answer, ask_once, get, post
from bench.process import Child, free_port

KEY = "bench-key-0123456789abcdef0123456789abcdef"
OUTLAST = Path(sys.executable).parent / "outlast"
QUESTION = "What is the status of order A-1?"
TOKEN = b'"text_delta"'
"""Marks a token in our frames and in the bare endpoint's."""
DIRECT_TOKEN = b'"content":'
"""Marks a token in the provider's."""

_AGENT = "  - {{name: {name}, model: 'openai-chat:{model}', instructions: You help.{tools}}}\n"
_TOOL = (
    ", tools: [{{name: lookup_order, description: Look up an order, effect: {effect}, "
    "approval: {approval}, "
    "parameters: {{type: object, properties: {{orderId: {{type: string}}}}, required: [orderId]}}, "
    "http: {{url: 'http://127.0.0.1:{port}/tools/lookup_order', timeout: 10}}}}]"
)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    first_tokens: int = 300
    runs: int = 400
    """Of each round; a third of it at concurrency 1."""
    rounds: int = 3
    streams: int = 500
    many_streams: int = 2000
    words: int = 30
    killed: int = 50
    few: int = 1_000
    many: int = 100_000
    pages: int = 200
    suspended: int = 10_000
    settle: float = 3.0
    """Seconds until a server that has started is idle."""
    idle_seconds: float = 10.0
    starts: int = 5
    stored: int = 300
    install: bool = True


QUICK = Scale(
    first_tokens=20,
    runs=30,
    rounds=1,
    streams=20,
    many_streams=30,
    words=6,
    killed=5,
    few=100,
    many=1_000,
    pages=20,
    suspended=200,
    settle=0.5,
    idle_seconds=1.0,
    starts=1,
    stored=20,
    install=False,
)
"""Only to see that everything runs; its figures say nothing."""


@dataclass(frozen=True, slots=True)
class Lab:
    """Open for one run of the bench. The baseline (b) starts at its first use and stays."""

    room: Path
    scale: Scale
    provider: Child
    workshop: Child
    stack: AsyncExitStack
    started: dict[str, Child] = field(default_factory=dict)

    @property
    def provider_url(self) -> str:
        """The fake provider's base URL."""
        return f"http://127.0.0.1:{self.provider.port}/v1"

    def log(self, name: str) -> Path:
        """Where a child of this name writes."""
        return self.room / f"{name}.log"

    def data(self, name: str) -> Path:
        """An empty data folder."""
        path = self.room / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def drop(self, *paths: Path) -> None:
        """Give the disk back."""
        for path in paths:
            shutil.rmtree(path, ignore_errors=True)

    async def bare(self) -> Child:
        """Baseline (b), running."""
        if (child := self.started.get("bare")) is None:
            child = self.started["bare"] = self.start_bare()
            self.stack.push_async_callback(child.stop)
            await child.listening()
            await child.ready("/readyz")
        return child

    def start_bare(self) -> Child:
        """Baseline (b), just started."""
        tool = f"http://127.0.0.1:{self.workshop.port}/tools/lookup_order"
        arguments = ("--provider", self.provider_url, "--tool", tool)
        return Child.module("bench.bare", self.log("bare"), *arguments)

    @asynccontextmanager
    async def ours(
        self, data: Path, *, concurrency: int = 0, provider_url: str = ""
    ) -> AsyncGenerator[Child, None]:
        """Outlast on this data folder, ready for work; stopped at the end, if it still runs."""
        child = self.start_ours(data, concurrency=concurrency, provider_url=provider_url)
        try:
            await child.ready("/readyz")
            yield child
        finally:
            await child.stop()

    def start_ours(self, data: Path, *, concurrency: int = 0, provider_url: str = "") -> Child:
        """Outlast on this data folder, just started."""
        port = free_port()
        env = {
            "OUTLAST_DATA_DIR": str(data),
            "OUTLAST_PORT": str(port),
            "OUTLAST_API_KEY": KEY,
            "OPENAI_BASE_URL": provider_url or self.provider_url,
            "OPENAI_API_KEY": "none",
        }
        if concurrency:
            env["OUTLAST_CONCURRENCY"] = str(concurrency)
        agents = self._agents_file()
        arguments = [str(OUTLAST), "serve", "--agents", str(agents)]
        return Child(arguments, self.log("outlast"), port=port, env=env)

    def _agents_file(self) -> Path:
        def agent(name: str, model: str, effect: str = "", approval: str = "false") -> str:
            port = self.workshop.port
            tools = _TOOL.format(effect=effect, approval=approval, port=port) if effect else ""
            return _AGENT.format(name=name, model=model, tools=tools)

        path = self.room / "agents.yaml"
        path.write_text(
            "agents:\n"
            + agent("answer", "words-12")
            + agent("first", "words-3-delay-10")
            + agent("slow", f"words-{self.scale.words}-delay-100")
            + agent("tool", "tool", "read_only")
            + agent("turns", "turns", "idempotent")
            + agent("asks", "tool", "destructive", "true")
        )
        return path


@asynccontextmanager
async def open_lab(room: Path, scale: Scale) -> AsyncGenerator[Lab, None]:
    """The provider and the tool server, running; all that was started is stopped at the end."""
    async with AsyncExitStack() as stack:
        provider = Child.module("tests.provider", room / "provider.log", "--port", "0")
        stack.push_async_callback(provider.stop)
        workshop = Child.module("bench.workshop", room / "workshop.log")
        stack.push_async_callback(workshop.stop)
        await provider.listening()
        await workshop.listening()
        yield Lab(room, scale, provider, workshop, stack)


def execute(agent: str, **more: Any) -> bytes:
    """The bytes that ask Outlast to run an agent."""
    return post(f"/v1/agents/{agent}/execute", {"input": QUESTION, **more}, KEY)


def ask_bare(path: str) -> bytes:
    """The bytes that ask the bare endpoint."""
    return post(path, {"input": QUESTION})


def ask_provider(model: str, *, stream: bool = True) -> bytes:
    """The bytes that ask the provider itself."""
    message = {"role": "user", "content": QUESTION}
    body = {"model": model, "messages": [message], "stream": stream}
    return post("/v1/chat/completions", body)


def is_completed(answer: Answer) -> bool:
    """Whether Outlast's execution ended well."""
    return answer.status == 200 and b'"status":"completed"' in answer.body.replace(b": ", b":")


def is_ok(answer: Answer) -> bool:
    """Whether the answer has status 200 and an output."""
    return answer.status == 200 and bool(answer.body)


async def fetch(child: Child, path: str) -> Any:
    """JSON of a GET from Outlast. Raises RuntimeError."""
    return (await ask_once(child.port, get(path, KEY))).json()


def database(data: Path) -> Path:
    """The SQLite file of a data folder."""
    return data / "outlast.db"
