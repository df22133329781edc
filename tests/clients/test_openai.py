"""The openai package reads the default format, cut at random a hundred times."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import orjson
import pytest
from openai import AsyncOpenAI, AsyncStream
from openai.lib.streaming.chat import ChatCompletionStreamEvent, ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk

from tests.clients.conftest import words
from tests.support.cutting_proxy import CuttingProxy
from tests.support.processes import API_KEY, ServerProcess

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


async def approve(server: ServerProcess, chunk: ChatCompletionChunk) -> bool:
    """Whether the chunk is JSON in the content; what asks for an approval is approved."""
    content = chunk.choices[0].delta.content or ""
    if not content.startswith('{"type"'):
        return False
    shown = orjson.loads(content)
    if shown["type"] == "tool-approval-request":
        path = f"/run/api/executions/{chunk.id}/approvals/{shown['toolCallId']}"
        assert (await server.http.post(path, json={"approved": True})).status_code == 200
    return True


async def ended(stream: AsyncStream[ChatCompletionChunk]) -> tuple[str, list[Any], Any]:
    """An answer's text without the JSON in it, its tool calls, and the reason of its end."""
    state = ChatCompletionStreamState(input_tools=[])
    async for chunk in stream:
        if not (chunk.choices[0].delta.content or "").startswith('{"type"'):
            state.handle_chunk(chunk)
    choice = state.current_completion_snapshot.choices[0]
    return choice.message.content or "", choice.message.tool_calls or [], choice.finish_reason


async def test_a_loop_of_the_client_runs_its_own_tools_and_sends_their_results_as_messages(
    server: ServerProcess,
) -> None:
    locate = {"name": "locate", "description": "Where?", "parameters": {"type": "object"}}
    messages: list[Any] = [{"role": "user", "content": "locate"}]
    body: dict[str, Any] = {"messages": messages, "clientTools": [locate]}
    url = f"http://127.0.0.1:{server.port}/run/api"
    async with AsyncOpenAI(api_key=API_KEY, base_url=url, max_retries=0) as client:
        stream = await client.post("/executions", body=body, **STREAM)
        run = stream.response.headers["x-execution-id"]
        text, calls, reason = await ended(stream)
        assert (text, [one.function.name for one in calls], reason) == (
            "Where are you?",
            ["locate"],
            "tool_calls",
        )
        conversation = (await server.execution(run))["conversationId"]
        messages += [
            {
                "role": "assistant",
                "content": text,
                "tool_calls": [one.model_dump(exclude={"index"}) for one in calls],
            },
            {"role": "tool", "tool_call_id": calls[0].id, "content": "Berlin"},
        ]
        for _ in range(2):  # sent again, it gets the same answer
            sent = body | {"conversationId": conversation}
            stream = await client.post("/executions", body=sent, **STREAM)
            assert stream.response.headers["x-execution-id"] == run
            text, _, reason = await ended(stream)
            assert (text, reason) == ("You are at Berlin.", "stop")
        for wrong, status in (
            ({"role": "tool", "tool_call_id": "tc_none", "content": "Rome"}, 409),
            ({"role": "tool", "content": "Rome"}, 400),
        ):
            sent = {"conversationId": conversation, "messages": [*messages[:-1], wrong]}
            answer = await server.http.post("/run/api/executions", json=sent)
            assert answer.status_code == status, answer.text
    execution = await server.execution(run)
    [called] = execution["toolCalls"]
    assert (execution["status"], called["result"]) == ("completed", "Berlin")
    assert len((await server.http.get("/v1/executions")).json()["data"]) == 1


async def said(server: ServerProcess, url: str) -> str:
    """What a run says, approved on the way; JSON in the content is left out."""
    async with AsyncOpenAI(api_key=API_KEY, base_url=f"{url}/run/api", max_retries=0) as client:
        found = [
            chunk.choices[0].delta.content or ""
            async for chunk in chunks_of(client, "long")
            if not await approve(server, chunk)
        ]
    return "".join(found)


async def test_a_stream_that_is_cut_a_hundred_times_says_the_same(server: ServerProcess) -> None:
    uncut = await said(server, f"http://127.0.0.1:{server.port}")
    assert uncut == f"{words('b', 300)}{words('a', 300)} It is 42."
    async with CuttingProxy(server.port, cuts=CUTS, most=2000) as proxy:
        assert await said(server, proxy.url) == uncut
        assert proxy.cuts == 0


async def test_the_package_s_accumulator_puts_tool_calls_together(server: ServerProcess) -> None:
    url = f"http://127.0.0.1:{server.port}/run/api"
    state: ChatCompletionStreamState[None] = ChatCompletionStreamState()
    done: list[ChatCompletionStreamEvent[None]] = []
    async with AsyncOpenAI(api_key=API_KEY, base_url=url, max_retries=0) as client:
        async for chunk in chunks_of(client, "twice"):
            done += state.handle_chunk(chunk)
            await approve(server, chunk)
    completion = state.get_final_completion()
    calls = completion.choices[0].message.tool_calls or []
    assert [(call.function.name, orjson.loads(call.function.arguments)) for call in calls] == [
        ("calculator", {"expression": "6 * 7"}),
        ("calculator", {"expression": "1 + 1"}),
        ("calculator", {"expression": "2 + 2"}),
    ]
    assert len({call.id for call in calls}) == 3
    assert (completion.choices[0].finish_reason, completion.id) == ("stop", chunk.id)
    events = [event.type for event in done]
    assert events.count("tool_calls.function.arguments.done") == 3


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
