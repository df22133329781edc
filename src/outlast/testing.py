"""For tests, ours and yours: a clock moved by hand, a core on a temporary file, a fake server.

    clock = FakeClock()
    script = {"turns": [{"steps": [{"text": "Good morning!"}]}]}
    models = NamedModels({"model": ScriptedModel.from_data(script, clock)})
    async with core_on(tmp_path, models=models, clock=clock) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(AgentSpec("greeter", "model"), "1")])
        _, view = await core.services.executions.run(caller, "greeter", StartExecution("Hello"))
        assert view.execution.output == "Good morning!"

`ScriptedModel` is in `outlast.agents.models.scripted`, `AgentSpec` in `outlast.model.agent`,
`StartExecution` in `outlast.services.executions`. Without `tools` the real ones are called.

What calls a server by HTTP is tested against one whose models are scripts:

    with fake_server({"greeter": [{"text": "Good morning!"}]}) as server:
        with SyncClient(server.url, server.key) as client:
            assert client.execute("greeter", "Hello")["output"] == "Good morning!"
"""

import asyncio
import heapq
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import orjson

from outlast.agents.code import CodeFunctions
from outlast.agents.embeddings.catalogue import Embedders
from outlast.agents.port import Model, Models, Offer, Tools
from outlast.agents.tools.toolbox import ToolBox
from outlast.app import Core, build
from outlast.model.clock import Clock, SystemClock
from outlast.model.error import Misconfigured
from outlast.model.ids import from_uuid
from outlast.model.workspace import Principal, Scope
from outlast.services.workspaces import DEFAULT_WORKSPACE
from outlast.settings import Settings
from outlast.store.driver import Driver
from outlast.store.store import Store

if TYPE_CHECKING:
    import uvicorn

    from outlast.embedded import Embedded

_START: Final = 1_772_000_000_000
"""2026-02-25T06:13:20Z."""


class FakeClock:
    """Clock that moves only by `advance`; its ids are the same in every run."""

    def __init__(self, now: int = _START) -> None:
        self._start = self._now = now
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._numbers = count(1)
        self._sleeps = count(1)
        self._slept = asyncio.Event()

    def now(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return (self._now - self._start) / 1000

    def new_id(self, prefix: str) -> str:
        """Return a UUIDv7 of the current time whose random bits are a counter (RFC 9562, 5.7)."""
        number = next(self._numbers)
        value = (self._now << 80) | (7 << 76) | (2 << 62) | number
        return from_uuid(prefix, UUID(int=value))

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await _turn()
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wake_at = self._now + round(seconds * 1000)
        heapq.heappush(self._sleepers, (wake_at, next(self._sleeps), waiter))
        self._slept.set()
        await waiter

    def advance(self, seconds: float) -> None:
        """Move time on and wake those whose sleep has ended."""
        self._now += round(seconds * 1000)
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, waiter = heapq.heappop(self._sleepers)
            if not waiter.done():
                waiter.set_result(None)

    def set_by(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an operator does; no time passes."""
        millis = round(seconds * 1000)
        self._now += millis
        self._start += millis
        self._sleepers = [(at + millis, number, one) for at, number, one in self._sleepers]

    async def sleeper(self) -> None:
        """Wait until a task sleeps that was not sleeping before this call."""
        self._slept.clear()
        await self._slept.wait()


async def _turn() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, None)
    await future


class NamedModels:
    """Models by name, for tests that bring their own."""

    def __init__(self, models: dict[str, Model]) -> None:
        self._models = models

    def kind(self, name: str) -> str:
        """Return the name: each of these models is a kind of its own."""
        return name

    def find(self, name: str) -> Model:
        if name not in self._models:
            raise Misconfigured(f"There is no model {name!r}.")
        return self._models[name]

    def offer(self, name: str) -> Offer | None:
        """Return None: these models have no list prices."""
        del name
        return None

    async def warm_up(self) -> None:
        pass

    async def close(self) -> None:
        for model in self._models.values():
            await model.close()


@asynccontextmanager
async def core_on(
    folder: Path,
    *,
    models: Models,
    tools: Tools | None = None,
    code: CodeFunctions | None = None,
    clock: Clock | None = None,
    store: Callable[[Driver], Store] | None = None,
    start: bool = True,
    **settings: Any,
) -> AsyncIterator[Core]:
    """Run a whole server without HTTP, on a database in this folder."""
    clock = clock or SystemClock()
    embedders = Embedders(clock, folder)
    core = build(
        Settings(data_dir=folder, **settings),
        models=models,
        tools=lambda state, search: tools or ToolBox(clock, store=state, search=search),
        embedders=embedders,
        code=code,
        clock=clock,
        store=store,
    )
    await core.open()
    if start:
        await core.start()
    try:
        yield core
    finally:
        await core.close()


async def owner(core: Core, workspace: str = DEFAULT_WORKSPACE) -> Principal:
    """Return a principal with all scopes in a workspace, which is created if necessary."""
    made = await core.services.workspaces.put(workspace)
    key = await core.services.keys.create(made.id, "owner")
    return Principal(key.key.id, made.id, frozenset(Scope))


@dataclass(frozen=True, slots=True)
class FakeServer:
    """Where a fake server is, and its key, which opens everything."""

    url: str
    key: str


@contextmanager
def fake_server(
    scripts: Mapping[str, Sequence[Mapping[str, Any]] | Mapping[str, Any]],
    *,
    tools: Iterable[Callable[..., Any] | str] = (),
    **settings: Any,
) -> Iterator[FakeServer]:
    """Run the server on loopback, in a thread, with a temporary database; scripts are its models.

    `scripts`: for each agent the steps of its answers to any input, or a whole file of a scripted
    model (`outlast.agents.models.scripted`) as {"turns": […]}. All agents have the `tools`.
    `settings` by name; the environment and `outlast.toml` are not read. Raises Misconfigured.
    """
    with TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as listener:
        place, key = Path(folder), "sk_fake_server_00000000"
        app = _fake(place, scripts, tools, {"api_key": key, "log_level": "warning", **settings})
        server, ready = _threaded(app)
        thread = Thread(target=_run, args=(server, listener), name="fake_server")
        thread.start()
        try:
            ready.wait()
            if not server.started:
                raise Misconfigured("The fake server did not start; the log says why.")
            yield FakeServer(f"http://127.0.0.1:{listener.getsockname()[1]}", key)
        finally:
            server.should_exit = True
            thread.join()


def _fake(
    folder: Path,
    scripts: Mapping[str, Sequence[Mapping[str, Any]] | Mapping[str, Any]],
    tools: Iterable[Callable[..., Any] | str],
    settings: dict[str, Any],
) -> "Embedded":
    from outlast.agents.define import Agent
    from outlast.agents.loader import load_listed
    from outlast.embedded import Embedded

    agents = []
    for number, (name, script) in enumerate(scripts.items()):
        file = folder / f"script{number}.yaml"
        whole = script if isinstance(script, Mapping) else {"turns": [{"steps": [*script]}]}
        file.write_bytes(orjson.dumps(whole))
        agents.append(Agent(name, model=f"scripted:{file}", tools=[*tools]))
    chosen = Settings(data_dir=folder / "data", agents="fake_server", **settings)
    return Embedded(chosen, load_listed(agents, "fake_server"))


def _run(server: "uvicorn.Server", listener: socket.socket) -> None:
    with suppress(SystemExit):  # of a server that has not started
        server.run([listener])


def _threaded(app: "Embedded") -> "tuple[uvicorn.Server, Event]":
    """Return a server for another thread, and what is set once it serves or has failed."""
    import uvicorn

    ready = Event()

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            try:
                await super().startup(sockets)
            finally:
                ready.set()

    config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1)
    return Server(config), ready
