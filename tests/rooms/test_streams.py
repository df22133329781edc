"""Streams over HTTP: live, cut anywhere and taken up again, left by the client or by the server."""

import asyncio

import pytest

from outlast.model.error import ModelRejected
from tests.engine.world import Actor, Bench, Reply, by_turn, call, spec, tool
from tests.rooms.conftest import Build
from tests.rooms.house import BOUND, House, frames, kinds, read_until, until

pytestmark = pytest.mark.anyio


async def test_reconnecting_at_every_event_gives_the_rest_of_the_uncut_stream(build: Build) -> None:
    replies = by_turn(["Let me ", "see. ", call(1, "lookup"), call(2, "lookup")], ["It ", "is."])
    house = await build(Actor(replies), spec(tool("lookup")), Bench(lookup=lambda _: [1]))
    whole = (await house.execute({"input": "Hi", "stream": True})).content
    path = f"/v1/executions/{frames(whole)[0][1]['executionId']}/stream"
    assert (await house.get(path)).content == whole
    for cursor, _ in frames(whole):
        seen = whole[: whole.index(b"\n\n", whole.index(b"id: %b\n" % cursor.encode())) + 2]
        by_header = await house.client.get(path, headers={"Last-Event-ID": cursor})
        assert seen + by_header.content == whole
        by_query = await house.get(path, after=cursor)
        assert seen + by_query.content == whole


async def test_a_live_stream_is_taken_up_where_it_was_cut(build: Build) -> None:
    held = asyncio.Event()
    house = await build(Actor(by_turn(["one ", "two ", held, "three"])))
    async with house.listening() as client:
        body = {"input": "Hi", "stream": True}
        async with client.stream("POST", "/v1/agents/agent/execute", json=body) as response:
            execution_id = response.headers["x-execution-id"]
            seen = await read_until(response.aiter_lines(), "two")
        cursor = next(line for line in reversed(seen) if line.startswith("id: "))[4:]
        await until(lambda: not house.core.streams.followers and not house.app.state.streams)
        path = f"/v1/executions/{execution_id}/stream"
        async with client.stream("GET", path, headers={"Last-Event-ID": cursor}) as response:
            held.set()
            rest = frames(await response.aread())
        assert [data.get("text") for _, data in rest] == ["three", None]
        assert kinds(rest) == ["text_delta", "done"]
    assert (await house.rested(execution_id))["output"] == "one two three"


async def test_a_client_that_leaves_a_waiting_request_stops_nothing(build: Build) -> None:
    held = asyncio.Event()
    actor = Actor(by_turn(["Hel", held, "lo"]))
    house = await build(actor)
    async with house.listening() as client:
        asking = asyncio.create_task(client.post("/v1/agents/agent/execute", json={"input": "Hi"}))
        async with asyncio.timeout(BOUND):
            await actor.spoke.wait()
        asking.cancel()
        await asyncio.wait({asking})
    (listed,) = (await house.get("/v1/executions")).json()["data"]
    held.set()
    assert (await house.rested(listed["id"]))["status"] == "completed"


async def test_a_silent_stream_says_that_it_lives(build: Build) -> None:
    held = asyncio.Event()
    house = await build(Actor(by_turn(["Hel", held, "lo"])))
    house.app.state.streams.keep_alive = 0.05
    async with house.listening() as client:
        body = {"input": "Hi", "stream": True}
        async with client.stream("POST", "/v1/agents/agent/execute", json=body) as response:
            lines = response.aiter_lines()
            await read_until(lines, ": keep-alive")
            held.set()
            assert await read_until(lines, '"done"')


async def test_a_server_that_leaves_tells_its_streams_to_come_back(build: Build) -> None:
    held = asyncio.Event()
    actor = Actor(by_turn(["Hel", held, "lo"]))
    house = await build(actor)
    async with house.listening() as client:
        body = {"input": "Hi", "stream": True}
        async with client.stream("POST", "/v1/agents/agent/execute", json=body) as response:
            lines = response.aiter_lines()
            await read_until(lines, "Hel")
            house.app.state.streams.end()
            assert "retry: 1000" in await read_until(lines, "never said")
    held.set()
    assert (await house.rested(response.headers["x-execution-id"]))["output"] == "Hello"


@pytest.mark.parametrize("cursor", ["x", "1", "1-", "-1-1", "1-2-3", "9" * 40 + "-1", "99-1"])
async def test_an_unknown_cursor_is_400(house: House, cursor: str) -> None:
    execution_id = (await house.execute({"input": "Hi"})).json()["id"]
    path = f"/v1/executions/{execution_id}/stream"
    response = await house.get(path, after=cursor)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "after"
    response = await house.client.get(path, headers={"Last-Event-ID": cursor})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "Last-Event-ID"


async def test_an_unknown_execution_has_no_stream(house: House) -> None:
    for unknown in ("exec_abc", "exec_01k6zj3t7hf2a9q1x5m8r4c0vb"):
        response = await house.get(f"/v1/executions/{unknown}/stream")
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "execution_not_found"


async def test_500_streams_of_one_execution_end_and_leave_nothing(build: Build) -> None:
    held = asyncio.Event()
    house = await build(Actor(by_turn(["Hel", held, "lo"])))
    execution_id = await house.started()
    asking = [
        asyncio.create_task(house.get(f"/v1/executions/{execution_id}/stream")) for _ in range(500)
    ]
    await until(lambda: len(house.app.state.streams) == 500)
    held.set()
    contents = {response.content for response in await asyncio.gather(*asking)}
    assert len(contents) == 1
    assert len(house.app.state.streams) == 0
    assert house.core.streams.followers == 0


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_behind_the_last_frame_of_an_ended_execution_there_is_nothing(
    build: Build, end: str
) -> None:
    held = asyncio.Event()
    replies: dict[str, Reply] = {
        "completed": ["a"],
        "failed": [ModelRejected("no")],
        "cancelled": ["a", held],
    }
    actor = Actor(by_turn(replies[end]))
    house = await build(actor)
    run = await house.started()
    path = f"/v1/executions/{run}/stream"
    if end == "cancelled":
        async with asyncio.timeout(BOUND):
            await actor.spoke.wait()
        assert (await house.client.post(f"/v1/executions/{run}/cancel")).status_code == 200
    assert (await house.rested(run))["status"] == end
    *before, last = [cursor for cursor, _ in frames((await house.get(path)).content)]
    for headers, query in (({"Last-Event-ID": last}, {}), ({}, {"after": last})):
        answer = await house.client.get(path, headers=headers, params=query)
        assert (answer.status_code, answer.content) == (204, b"")
        for cursor in before:
            earlier = dict.fromkeys(headers, cursor), dict.fromkeys(query, cursor)
            answer = await house.client.get(path, headers=earlier[0], params=earlier[1])
            assert answer.status_code == 200
            assert frames(answer.content)[-1][0] == last


async def test_behind_what_a_live_execution_has_said_a_client_waits(build: Build) -> None:
    held = asyncio.Event()
    actor = Actor(by_turn(["one ", held, "two"]))
    house = await build(actor)
    run = await house.started()
    path = f"/v1/executions/{run}/stream"
    async with asyncio.timeout(BOUND):
        await actor.spoke.wait()
    async with house.listening() as client:
        async with client.stream("GET", path) as response:
            seen = await read_until(response.aiter_lines(), "one")
        cursor = next(line for line in reversed(seen) if line.startswith("id: "))[4:]
        async with client.stream("GET", path, headers={"Last-Event-ID": cursor}) as response:
            assert response.status_code == 200
            held.set()
            assert kinds(frames(await response.aread()))[-1] == "done"
