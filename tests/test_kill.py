"""Real processes, really killed: what was accepted ends, once."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
import pytest

from tests.support.databases import Database
from tests.support.processes import CountingToolServer, ServerProcess
from tests.support.provider import FakeProvider

pytestmark = pytest.mark.anyio

EXECUTIONS, KILLS = 200, 5

AGENTS = """
agents:
  - name: counter
    model: openai-chat:tool
    tools:
      - name: count
        description: Count one more
        parameters: {{type: object, properties: {{}}}}
        http: {{url: "{url}"}}
        effect: idempotent
  - name: speaker
    model: openai-chat:words-30-delay-20
"""


class Town:
    """A server, the provider and the tools that it calls."""

    def __init__(
        self, server: ServerProcess, provider: FakeProvider, tools: CountingToolServer
    ) -> None:
        self.server, self.provider, self.tools = server, provider, tools


def settings(database: Database) -> dict[str, str]:
    return {"OUTLAST_DATABASE_URL": database.url, "OUTLAST_TAKEOVER_SECONDS": "2"}


@pytest.fixture
async def town(tmp_path: Path, database: Database) -> AsyncIterator[Town]:
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(FakeProvider(record=False))
        tools = await stack.enter_async_context(CountingToolServer())
        server = ServerProcess(
            tmp_path,
            AGENTS.format(url=tools.url),
            {"OPENAI_BASE_URL": provider.url, "OUTLAST_CONCURRENCY": "20", **settings(database)},
        )
        yield Town(await stack.enter_async_context(server), provider, tools)


async def test_two_hundred_in_flight_over_five_kills_all_end_and_none_twice(town: Town) -> None:
    server = town.server
    ids = list(
        await asyncio.gather(*(server.background("counter", f"run {n}") for n in range(EXECUTIONS)))
    )
    for kill in range(1, KILLS + 1):
        await town.tools.counted(kill * EXECUTIONS // (KILLS + 3))
        await server.kill()
        await server.start()
    logs = await asyncio.gather(*(server.frames(execution_id) for execution_id in ids))
    for execution_id, frames in zip(ids, logs, strict=True):
        execution = await server.execution(execution_id)
        assert execution["status"] == "completed", execution["error"]
        assert [call["name"] for call in execution["toolCalls"]] == ["count"]
        kinds = [orjson.loads(data)["type"] for _, data in frames]
        assert kinds.count("tool_call_end") == 1
        assert kinds[-1] == "done"
    assert len(town.tools.calls) == EXECUTIONS
    assert all(len(of) == 1 for of in town.tools.executions.values())
    listed = await server.http.get("/v1/executions", params={"limit": 100})
    rest = await server.http.get(
        "/v1/executions", params={"limit": 100, "after": listed.json()["nextCursor"]}
    )
    found = [e["id"] for page in (listed, rest) for e in page.json()["data"]]
    assert sorted(found) == sorted(ids)
    assert not rest.json()["hasMore"]


async def test_a_stream_goes_on_over_a_kill_without_a_gap_or_a_repeat(town: Town) -> None:
    server = town.server
    execution_id = await server.background("speaker", "Speak")
    seen: list[tuple[str, bytes]] = []
    async for frame in server.stream(execution_id):
        seen.append(frame)
        if len(seen) == 10:
            break
    await server.kill()
    await server.start()
    seen += await server.frames(execution_id, seen[-1][0])
    assert seen == await server.frames(execution_id)
    kinds = [orjson.loads(data)["type"] for _, data in seen]
    assert kinds.count("retry") == 1
    spoken = "".join(
        orjson.loads(data)["text"]
        for kind, (_, data) in zip(kinds, seen, strict=True)
        if kind == "text_delta"
    )
    output = (await server.execution(execution_id))["output"]
    assert spoken.endswith(output)
    assert len(output.split()) == 30


async def test_sigterm_lets_nothing_be_lost_and_ends_with_zero(town: Town) -> None:
    server = town.server
    ids = [await server.background("counter", f"run {n}") for n in range(40)]
    assert await server.signal(signal.SIGTERM) == 0
    await server.start()
    for execution_id in ids:
        await server.frames(execution_id)
        assert (await server.execution(execution_id))["status"] == "completed"
    assert len(town.tools.calls) == 40
    assert set(town.tools.calls.values()) == {1}


async def test_a_caller_who_waits_while_the_server_leaves_learns_where_to_look(
    tmp_path: Path,
    database: Database,
) -> None:
    async with FakeProvider() as provider:
        env = {"OPENAI_BASE_URL": provider.url, "OUTLAST_DRAIN_SECONDS": "0", **settings(database)}
        async with ServerProcess(tmp_path, AGENTS.format(url="http://127.0.0.1:9"), env) as server:
            waiting = asyncio.ensure_future(
                server.http.post("/v1/agents/speaker/execute", json={"input": "Speak"})
            )
            await provider.wait_requests(1)
            os.kill(server.pid, signal.SIGTERM)
            answer = await waiting
            assert answer.status_code == 202, answer.text
            execution_id = answer.json()["id"]
            assert answer.headers["location"] == f"/v1/executions/{execution_id}"
            assert await server.ended() == 0
            await server.start()
            await server.frames(execution_id)
            execution = await server.execution(execution_id)
            assert (execution["status"], len(execution["output"].split())) == ("completed", 30)
