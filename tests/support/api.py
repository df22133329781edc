"""The HTTP API in this process: a core with one agent behind its app, and a client."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import count
from typing import Any

import httpx2
import orjson
import uvicorn

from outlast.app import Core
from outlast.model.agent import AgentSpec
from outlast.model.clock import Clock
from outlast.model.error import Conflict
from outlast.model.execution import Status
from outlast.model.workspace import Principal, Scope
from outlast.services.workspaces import DEFAULT_WORKSPACE
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.page import Page
from outlast.testing import NamedModels, owner
from outlast.web import App, create_app
from tests.support.databases import Database
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, spec
from tests.support.waiting import BOUND, until

MakeApi = Callable[..., Awaitable["Api"]]
"""make_api(model, agent=…, tools=…, clock=…, settings…)"""
Frame = tuple[str, dict[str, Any]]
"""(id, data)"""


class Api:
    """A running core behind an app, and the key that opens it."""

    def __init__(self, core: Core, caller: Principal, key: str, app: App | None = None) -> None:
        """`app`: the one of this core, where it has one already."""
        self.core, self.caller, self.key = core, caller, key
        self.app: App = app or create_app(core)
        self.headers = {"Authorization": f"Bearer {key}"}
        self.client = httpx2.AsyncClient(
            transport=httpx2.ASGITransport(self.app),
            base_url="http://house",
            headers=self.headers,
            timeout=BOUND,
        )

    async def execute(self, body: Any = None, agent: str = "agent", **more: Any) -> httpx2.Response:
        """POST execute; a dict goes as JSON, nothing goes without a body."""
        content = None if body is None else orjson.dumps(body)
        return await self.client.post(f"/v1/agents/{agent}/execute", content=content, **more)

    async def get(self, path: str, **params: Any) -> httpx2.Response:
        return await self.client.get(path, params=params)

    async def started(self, **body: Any) -> str:
        """The id of a new background execution."""
        response = await self.execute({"input": "Hello", "background": True, **body})
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    async def rested(self, execution_id: str) -> dict[str, Any]:
        async with asyncio.timeout(BOUND):
            await self.core.services.executions.rest(self.caller, execution_id)
        found: dict[str, Any] = (await self.get(f"/v1/executions/{execution_id}")).json()
        return found

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[httpx2.AsyncClient]:
        """The same app on a real socket, with a client for it."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            config = uvicorn.Config(
                self.app, lifespan="off", log_config=None, ws="none", timeout_graceful_shutdown=2
            )
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            try:
                async with httpx2.AsyncClient(
                    base_url=url, headers=self.headers, timeout=BOUND
                ) as client:
                    yield client
            finally:
                server.should_exit = True
                await serving


class _ThisTests:
    """What a server that tests share has of the test that runs: a model, or tools."""

    def __init__(self) -> None:
        self.now: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now, name)


class SharedServer:
    """A core behind an app that tests share; each has a workspace, a model and tools of its own."""

    def __init__(self, core: Core, model: _ThisTests, tools: _ThisTests) -> None:
        self.core = core
        self._model, self._tools = model, tools
        self._app = create_app(core)
        self._numbers = count(1)

    @asynccontextmanager
    async def api(
        self,
        model: Any = None,
        agent: AgentSpec | None = None,
        tools: Any = None,
        scopes: frozenset[Scope] = frozenset(Scope),
    ) -> AsyncIterator[Api]:
        """The API of a new workspace with one agent; at the end nothing of it runs."""
        self._model.now = model or FakeModel(by_turn(["Hel", "lo"]))
        self._tools.now = tools or FakeTools()
        name = f"workspace-{next(self._numbers)}"
        api = await api_of(self.core, name, agent, scopes, self._app)
        async with api.client:
            yield api
        await self._end(api.caller.workspace_id)

    async def _end(self, workspace_id: str) -> None:
        if self.core.engine.running:
            everything = replace(await owner(self.core), workspace_id=workspace_id)
            live = ExecutionFilter(status=(Status.QUEUED, Status.RUNNING))
            for one in await self.core.store.executions.page(workspace_id, live, Page(100)):
                with suppress(Conflict):  # it has ended meanwhile
                    await self.core.services.executions.cancel(everything, one.id)
            await until(lambda: not self.core.engine.running)


@asynccontextmanager
async def shared_server_on(
    database: Database, clock: Clock | None = None
) -> AsyncIterator[SharedServer]:
    """Run a server for tests that run one after another."""
    model, tools = _ThisTests(), _ThisTests()
    model.now, tools.now = FakeModel(by_turn([])), FakeTools()
    models = NamedModels({"actor": model})
    async with database.core(models=models, tools=tools, clock=clock, drain_seconds=1) as core:
        yield SharedServer(core, model, tools)


async def api_of(
    core: Core,
    workspace: str = DEFAULT_WORKSPACE,
    agent: AgentSpec | None = None,
    scopes: frozenset[Scope] = frozenset(Scope),
    app: App | None = None,
) -> Api:
    """Return the API of a workspace, which is created if necessary, with an agent and a key."""
    services = core.services
    made = await services.workspaces.put(workspace)
    key = await services.keys.create(made.id, "owner", scopes)
    await services.agents.put(made.id, [(agent or spec(), "1")])
    return Api(core, Principal(key.key.id, made.id, scopes), key.secret, app)


def frames(content: bytes) -> list[Frame]:
    """Read a whole stream."""
    found: list[Frame] = []
    for block in content.decode().split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.splitlines() if line[:1] not in ("", ":")
        )
        if "data" in fields:
            found.append((fields["id"], orjson.loads(fields["data"])))
    return found


def texts(found: list[Frame]) -> str:
    return "".join(data["text"] for _, data in found if data["type"] == "text_delta")


def kinds(found: list[Frame]) -> list[str]:
    return [data["type"] for _, data in found]


async def read_until(lines: AsyncIterator[str], word: str) -> list[str]:
    """Read lines up to one that contains the word."""
    found: list[str] = []
    async with asyncio.timeout(BOUND):
        async for line in lines:
            found.append(line)
            if word in line:
                break
    return found
