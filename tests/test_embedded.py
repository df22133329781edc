"""`outlast.asgi`: the whole server inside another application, on a real socket."""

import asyncio
import importlib
import re
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

import outlast
from outlast import Agent, tool
from outlast.client import Client
from outlast.embedded import Embedded
from outlast.model.error import Misconfigured, StoreLocked
from outlast.store.page import Page
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
SCRIPT = """
turns:
  - when: greet
    steps:
      - tool_calls: [{name: greet, parameters: {name: Ada}}]
      - text: "{result}, well met"
  - steps:
      - text: "one two three four"
        delay_ms: 10
"""


@tool(effect="read_only")
def greet(name: str) -> str:
    """Greet a person."""
    return f"Hello {name}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "script.yaml").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(folder: Path, **settings: Any) -> Embedded:
    agent = Agent("agent", model=f"scripted:{folder / 'script.yaml'}", tools=[greet])
    return outlast.asgi([agent], data_dir=folder / "data", drain_seconds=1, **settings)


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[str]:
    """The app on a real socket, with its lifespan."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=1)
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            async with asyncio.timeout(BOUND), httpx2.AsyncClient() as client:
                port = listener.getsockname()[1]
                await client.get(f"http://127.0.0.1:{port}/")  # accepted once it has started
                yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            async with asyncio.timeout(BOUND):
                await serving


async def test_mounted_in_a_fastapi_app_it_runs_streams_and_points_to_itself(folder: Path) -> None:
    server = made(folder)
    app = FastAPI(lifespan=server.lifespan)

    @app.get("/own")
    async def own() -> str:
        return "mine"

    app.mount("/ai", server)
    async with served(app) as url:
        key = (folder / "data" / "api_key").read_text().strip()
        headers = {"Authorization": f"Bearer {key}"}
        async with httpx2.AsyncClient(headers=headers, timeout=BOUND) as http:
            assert (await http.get(f"{url}/own")).json() == "mine"
            assert (await http.get(f"{url}/ai/readyz")).status_code == 200
            body = {"input": "greet", "background": True}
            accepted = await http.post(f"{url}/ai/v1/agents/agent/execute", json=body)
            assert accepted.status_code == 202
            location = accepted.headers["location"]
            assert location.startswith("/ai/v1/executions/"), location
            assert (await http.get(f"{url}{location}")).status_code == 200
            document = (await http.get(f"{url}/ai/openapi.json")).json()
            assert document["servers"][0]["url"] == "/ai"
            assert (await http.get(f"{url}/ai/v1/nowhere")).json()["error"]["code"] == "not_found"
        async with Client(f"{url}/ai", key) as client:
            pieces = [
                frame.data["text"]
                async for frame in client.stream("agent", "count")
                if frame.type == "text_delta"
            ]
            assert "".join(pieces) == "one two three four"
            assert (await client.execute("agent", "greet"))["output"] == "Hello Ada, well met"


async def test_served_by_itself_it_has_its_own_life_and_its_state_outlasts_it(
    folder: Path,
) -> None:
    async with served(made(folder)) as url:
        key = (folder / "data" / "api_key").read_text().strip()
        async with Client(url, key) as client:
            first = await client.execute("agent", "greet")
    async with served(made(folder)) as url, Client(url, key) as client:
        assert (await client.get(first["id"]))["output"] == "Hello Ada, well met"


async def test_without_its_lifespan_it_says_what_is_missing(folder: Path) -> None:
    app = FastAPI()
    app.mount("/ai", made(folder))
    async with served(app) as url, httpx2.AsyncClient() as http:
        answer = await http.get(f"{url}/ai/v1/agents")
    assert answer.status_code == 503
    assert "FastAPI(lifespan=server.lifespan)" in answer.json()["error"]["message"]
    assert not (folder / "data").exists()


async def test_an_agents_file_and_settings_are_read_as_serve_reads_them(folder: Path) -> None:
    (folder / "agents.yaml").write_text("agents: [{name: a, model: 'scripted:script.yaml'}]")
    (folder / "outlast.toml").write_text("agents = 'agents.yaml'\ndata_dir = 'here'\n")
    server = outlast.asgi(concurrency=3)
    assert (server.core.settings.concurrency, server.core.settings.data_dir) == (3, Path("here"))
    async with server.lifespan():
        found = await server.core.services.workspaces.put("default")
        agents = await server.core.store.agents.page(found.id, Page(10))
        assert [agent.spec.name for agent in agents] == ["a"]
    with pytest.raises(Misconfigured, match="there is no such file"):
        outlast.asgi("none.yaml")
    with pytest.raises(Misconfigured, match="did you mean agents"):
        outlast.asgi(agnets="x")


async def test_two_of_them_on_one_database_are_refused_clearly(folder: Path) -> None:
    async with made(folder).lifespan():
        with pytest.raises(StoreLocked):
            async with made(folder).lifespan():
                pass


async def test_the_documented_app_serves_below_its_path(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = (Path(__file__).parent.parent / "docs" / "start.md").read_text()
    (code,) = re.findall(r"```python\n(# shop_app\.py\n.*?)```", document, re.DOTALL)
    (folder / "shop_app.py").write_text(code)
    (folder / "outlast.toml").write_text("data_dir = '.outlast'")
    (folder / "agents.yaml").write_text(
        "agents: [{name: assistant, model: 'scripted:script.yaml'}]"
    )
    monkeypatch.syspath_prepend(str(folder))
    app = importlib.import_module("shop_app").app
    del sys.modules["shop_app"]
    async with served(app) as url:
        key = (folder / ".outlast" / "api_key").read_text().strip()
        async with Client(f"{url}/ai", key) as client:
            assert (await client.execute("assistant", "Hi"))["output"] == "one two three four"
