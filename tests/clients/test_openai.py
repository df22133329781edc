"""The openai package reads the default format, cut at random a hundred times."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import orjson
import pytest
from openai import AsyncOpenAI, AsyncStream
from openai.types.chat import ChatCompletionChunk

from tests.clients.conftest import words
from tests.clients.proxy import CuttingProxy
from tests.processes import API_KEY, ServerProcess

pytestmark = pytest.mark.anyio
CUTS = 100
STREAM: dict[str, Any] = {
    "cast_to": ChatCompletionChunk,
    "stream": True,
    "stream_cls": AsyncStream[ChatCompletionChunk],
}


async def chunks_of(client: AsyncOpenAI, text: str) -> AsyncIterator[ChatCompletionChunk]:
    """The chunks of a new run; a stream that is cut goes on at the next index."""
    body = {"messages": [{"role": "user", "content": text}]}
    stream = await client.post("/executions", body=body, **STREAM)
    run = stream.response.headers["x-execution-id"]
    index = 0
    while True:
        try:
            async for chunk in stream:
                index += 1
                yield chunk
                if chunk.choices[0].finish_reason is not None:
                    return
        except (httpx.TransportError, openai.APIConnectionError):
            pass
        at: Any = {"headers": {"x-stream-start-index": str(index)}}
        stream = await client.get(f"/executions/{run}/stream", options=at, **STREAM)


async def said(server: ServerProcess, url: str) -> str:
    """What a run says, approved on the way; JSON in the content is left out."""
    found: list[str] = []
    async with AsyncOpenAI(api_key=API_KEY, base_url=f"{url}/run/api", max_retries=0) as client:
        async for chunk in chunks_of(client, "long"):
            content = chunk.choices[0].delta.content or ""
            if not content.startswith('{"type"'):
                found.append(content)
                continue
            told = orjson.loads(content)
            if told["type"] == "tool-approval-request":
                path = f"/run/api/executions/{chunk.id}/approvals/{told['toolCallId']}"
                assert (await server.http.post(path, json={"approved": True})).status_code == 200
    return "".join(found)


async def test_a_stream_that_is_cut_a_hundred_times_says_the_same(server: ServerProcess) -> None:
    uncut = await said(server, f"http://127.0.0.1:{server.port}")
    assert uncut == f"{words('b', 300)}{words('a', 300)} It is 42."
    async with CuttingProxy(server.port, cuts=CUTS, most=2000) as proxy:
        assert await said(server, proxy.url) == uncut
        assert proxy.cuts == 0


async def test_a_run_that_fails_is_an_error_that_the_package_raises(server: ServerProcess) -> None:
    agents = server.agents.read_text().replace("model: scripted:", "model: openai-chat:x #")
    await server.kill()
    server.agents.write_text(agents)
    async with server:
        url = f"http://127.0.0.1:{server.port}/run/api"
        async with AsyncOpenAI(api_key=API_KEY, base_url=url, max_retries=0) as client:
            with pytest.raises(openai.APIError) as failed:
                async for _ in chunks_of(client, "Hi"):
                    pass
    assert failed.value.code
