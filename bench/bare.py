"""Baseline (b): a FastAPI endpoint around a pydantic-ai Agent that stores nothing.

`POST /execute/{model}` waits, `POST /stream/{model}` streams; with `?tool=1` the agent has one HTTP
tool. Its connection pool is unbounded: the default of 1,000 would hold 2,000 streams back.
"""

import argparse
import socket
from collections.abc import AsyncGenerator
from functools import cache
from typing import Any

import httpx2
import orjson
import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from bench.client import HOST


class Body(BaseModel):
    """Body of a request."""

    input: str


class Agents:
    """The agents, made at their first use."""

    def __init__(self, provider_url: str, tool_url: str) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        self._client = httpx2.AsyncClient(timeout=60, limits=limits)
        self._provider = OpenAIProvider(
            base_url=provider_url, api_key="none", http_client=self._client
        )
        self._tool_url = tool_url
        self.find = cache(self._make)

    def _make(self, model: str, tool: bool) -> Agent[None, str]:
        agent = Agent(OpenAIChatModel(model, provider=self._provider), instructions="You help.")
        if tool:
            agent.tool_plain(name="lookup_order")(self._lookup_order)
        return agent

    async def _lookup_order(self, orderId: str) -> Any:  # noqa: N803 - the tool's argument
        """Look up an order."""
        answer = await self._client.post(self._tool_url, json={"orderId": orderId})
        return answer.json()


def make_app(agents: Agents) -> FastAPI:
    """The two endpoints."""
    app = FastAPI()

    @app.get("/readyz")
    async def ready() -> str:
        return "ok"

    @app.post("/execute/{model}")
    async def execute(model: str, body: Body, tool: bool = False) -> Response:
        result = await agents.find(model, tool).run(body.input)
        usage = result.usage
        value = {
            "output": result.output,
            "usage": {"inputTokens": usage.input_tokens, "outputTokens": usage.output_tokens},
        }
        return Response(orjson.dumps(value), media_type="application/json")

    @app.post("/stream/{model}")
    async def stream(model: str, body: Body) -> StreamingResponse:
        return StreamingResponse(
            _frames(agents.find(model, False), body.input), media_type="text/event-stream"
        )

    return app


async def _frames(agent: Agent[None, str], text: str) -> AsyncGenerator[bytes, None]:
    async with agent.run_stream(text) as result:
        async for delta in result.stream_text(delta=True, debounce_by=None):
            frame = {"type": "text_delta", "text": delta}
            yield b"data: " + orjson.dumps(frame) + b"\n\n"
    yield b'data: {"type":"done"}\n\n'


def main() -> None:
    """Serve on a free port and print it."""
    parser = argparse.ArgumentParser(description="A bare endpoint around a pydantic-ai Agent.")
    parser.add_argument("--provider", required=True)
    parser.add_argument("--tool", required=True)
    options = parser.parse_args()
    listening = socket.create_server((HOST, 0), backlog=4096)
    app = make_app(Agents(options.provider, options.tool))
    config = uvicorn.Config(
        app, loop="uvloop", http="httptools", log_level="warning", access_log=False, backlog=4096
    )
    print(listening.getsockname()[1], flush=True)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
