"""What a figure works with: fake provider, tool server, servers under test, where they keep it."""

import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import Cpu
from bench.process import Child, free_port
from bench.requests import KEY
from bench.scale import Scale
from bench.state import POSTGRESQL, Postgres, State, States, open_postgres

OUTLAST = Path(sys.executable).parent / "outlast"
SERVER, API, WORKER = ("serve",), ("serve", "--no-worker"), ("worker",)

_AGENT = (
    "  - {{name: {name}, model: 'openai-chat:{model}', instructions: You help., "
    "limits: {{maxSteps: 2000}}{tools}}}\n"
)
_TOOL = (
    ", tools: [{{name: lookup_order, description: Look up an order, effect: {effect}, "
    "approval: {approval}, "
    "parameters: {{type: object, properties: {{orderId: {{type: string}}}}, required: [orderId]}}, "
    "http: {{url: 'http://127.0.0.1:{port}/tools/lookup_order', timeout: 10}}}}]"
)


@dataclass(frozen=True, slots=True)
class Lab:
    """Open for one run of the bench. The baseline (b) starts at its first use and stays."""

    room: Path
    scale: Scale
    provider: Child
    controlled: Child
    stack: AsyncExitStack
    kinds: Sequence[str]
    """The databases to measure on."""
    states: States
    postgres: Postgres | None
    started: dict[str, Child] = field(default_factory=dict)

    @property
    def provider_url(self) -> str:
        """The fake provider's base URL."""
        return f"http://127.0.0.1:{self.provider.port}/v1"

    @property
    def controlled_url(self) -> str:
        """The base URL of the provider that tells the time and holds requests back."""
        return f"http://127.0.0.1:{self.controlled.port}/v1"

    def log(self, name: str) -> Path:
        """Where a child of this name writes."""
        return self.room / f"{name}.log"

    def database_cpu(self, kind: str) -> Cpu:
        """Reads the processor time of the database's own processes; 0 where it has none."""
        if kind == POSTGRESQL and self.postgres is not None:
            return self.postgres.cpu_seconds
        return float

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
        tool = f"http://127.0.0.1:{self.controlled.port}/tools/lookup_order"
        arguments = ("--provider", self.provider_url, "--tool", tool)
        return Child.module("bench.bare", self.log("bare"), *arguments)

    @asynccontextmanager
    async def ours(
        self,
        state: State,
        *,
        concurrency: int = 0,
        provider_url: str = "",
        outlast: Path = OUTLAST,
    ) -> AsyncGenerator[Child, None]:
        """One server that works too, ready for work; stopped at the end, if it still runs."""
        child = self.start(
            state, concurrency=concurrency, provider_url=provider_url, outlast=outlast
        )
        try:
            await child.ready("/readyz")
            yield child
        finally:
            await child.stop()

    def start(
        self,
        state: State,
        command: tuple[str, ...] = SERVER,
        name: str = "server",
        *,
        concurrency: int = 0,
        provider_url: str = "",
        outlast: Path = OUTLAST,
    ) -> Child:
        """One process of Outlast on this state, just started; its database knows it by the name."""
        port = free_port()
        env = {
            **state.env(name),
            "OUTLAST_API_KEY": KEY,
            "OPENAI_BASE_URL": provider_url or self.provider_url,
            "OPENAI_API_KEY": "none",
        }
        if concurrency:
            env["OUTLAST_CONCURRENCY"] = str(concurrency)
        agents = self._agents_file(old=outlast != OUTLAST)
        arguments = [str(outlast), *command, "--agents", str(agents), "--port", str(port)]
        return Child(arguments, self.log("outlast"), port=port, env=env)

    def _agents_file(self, *, old: bool = False) -> Path:
        """Write the agents; for an `old` version without those that call others."""

        def agent(name: str, model: str, effect: str = "", approval: str = "false") -> str:
            port = self.controlled.port
            tools = _TOOL.format(effect=effect, approval=approval, port=port) if effect else ""
            return _AGENT.format(name=name, model=model, tools=tools)

        def calling(name: str, model: str, other: str) -> str:
            return _AGENT.format(name=name, model=model, tools=f", tools: [{{agent: {other}}}]")

        callers = (
            calling("ten", "tools-10", "answer")
            + calling("waits", "tool", "asks")
            + calling("fans", "fan-10", "fan")
            + calling("fan", "fan-1", "silent")
            + calling("thousand", "fan-10", "hundred")
            + calling("hundred", "fan-100", "moment")
        )
        path = self.room / ("old_agents.yaml" if old else "agents.yaml")
        path.write_text(
            "agents:\n"
            + agent("answer", "words-12")
            + agent("first", "words-3-delay-10")
            + agent("slow", f"words-{self.scale.words}-delay-100")
            + agent("tool", "tool", "read_only")
            + agent("turns", "turns", "idempotent")
            + agent("short", f"steps-{self.scale.few_steps}", "read_only")
            + agent("long", f"steps-{self.scale.many_steps}", "read_only")
            + agent("asks", "tool", "destructive", "true")
            + agent("moment", "clock-1")
            + agent("clock", f"clock-{self.scale.words}-delay-100")
            + agent("silent", "silent")
            + ("" if old else callers)
        )
        return path


@asynccontextmanager
async def open_lab(room: Path, scale: Scale, kinds: Sequence[str]) -> AsyncGenerator[Lab, None]:
    """The provider and the tool server, running; all that was started is stopped at the end."""
    async with AsyncExitStack() as stack:
        provider = Child.module("tests.support.provider", room / "provider.log", "--port", "0")
        stack.push_async_callback(provider.stop)
        controlled = Child.module("bench.controlled_provider", room / "controlled.log")
        stack.push_async_callback(controlled.stop)
        await provider.listening()
        await controlled.listening()
        postgres = stack.enter_context(open_postgres(room)) if POSTGRESQL in kinds else None
        yield Lab(room, scale, provider, controlled, stack, kinds, States(room, postgres), postgres)
