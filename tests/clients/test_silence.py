"""Clients that wait: signs of life, and a server that leaves, are no events to any of them."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk

from tests.clients.conftest import AGENTS
from tests.support import npm
from tests.support.processes import API_KEY, ServerProcess, frames_of
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio
KEEP_ALIVE = 0.05
SCRIPT = """
turns:
  - when: hold
    steps:
      - text: one two three
        delay_ms: 600000
  - steps:
      - text: one two three four
        delay_ms: 200
"""
"""Each word comes four signs of life behind the one before, or never."""
STREAM: dict[str, Any] = {
    "cast_to": ChatCompletionChunk,
    "stream": True,
    "stream_cls": AsyncStream[ChatCompletionChunk],
}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """An agent that speaks slowly, on a server that says often that it lives."""
    script = tmp_path / "script.yaml"
    script.write_text(SCRIPT)
    env = {
        "OUTLAST_STREAM_KEEP_ALIVE_SECONDS": str(KEEP_ALIVE),
        "OUTLAST_DRAIN_SECONDS": "0",
    }
    async with ServerProcess(tmp_path, AGENTS.format(script=script), env=env) as serving:
        yield serving


def body(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


@pytest.mark.parametrize("format", ["openai", "ui", "native"])
async def test_a_blank_line_ends_an_event_and_stands_nowhere_else(
    server: ServerProcess, format: str
) -> None:
    path = f"/run/api/executions?format={format}"
    answer = (await server.http.post(path, json=body("Hi"))).text
    assert answer.count(": keep-alive\n") > 3
    blocks = answer.removesuffix("\n\n").split("\n\n")
    assert all("\ndata: " in block for block in blocks)


async def test_the_openai_package_waits_past_signs_of_life(server: ServerProcess) -> None:
    url = f"http://127.0.0.1:{server.port}/run/api"
    async with AsyncOpenAI(api_key=API_KEY, base_url=url, max_retries=0) as client:
        stream = await client.post("/executions", body=body("Hi"), **STREAM)
        async with asyncio.timeout(BOUND):
            said = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(said) == "one two three four"


async def test_the_openai_package_gets_the_end_of_a_stream_whose_server_leaves(
    server: ServerProcess,
) -> None:
    url = f"http://127.0.0.1:{server.port}/run/api"
    async with (
        AsyncOpenAI(api_key=API_KEY, base_url=url, max_retries=0) as client,
        asyncio.timeout(BOUND),
    ):
        stream = await client.post("/executions", body=body("hold"), **STREAM)
        first = await anext(stream)
        leaving = asyncio.create_task(server.signal(signal.SIGTERM))
        rest = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert await leaving == 0
    assert first.choices[0].delta.role == "assistant"
    assert "".join(rest) in ("", "one ")


async def test_an_event_source_gets_every_frame_once_past_signs_of_life(
    packages: Path, server: ServerProcess
) -> None:
    run = await server.background("desk", "Hi")
    ticket = (await server.http.post(f"/v1/executions/{run}/stream-ticket")).json()["ticket"]
    for path in (f"/v1/executions/{run}/stream", f"/run/api/executions/{run}/stream"):
        url = f"http://127.0.0.1:{server.port}{path}?ticket={ticket}"
        heard = await npm.run(packages, "eventsource.mjs", {"url": url})
        uncut = [[cursor, data.decode()] async for cursor, data in frames_of(server.http, path)]
        assert heard["frames"] == uncut
