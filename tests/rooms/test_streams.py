"""Streams over HTTP: live, cut anywhere and taken up again, left by the client or by the server."""

import asyncio

import pytest

from outlast.model.error import ModelRejected
from tests.support.api import Api, MakeApi, frames, kinds, read_until
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, until

pytestmark = pytest.mark.anyio


async def test_reconnecting_at_every_event_gives_the_rest_of_the_uncut_stream(
    share_api: MakeApi,
) -> None:
    replies = by_turn(["Let me ", "see. ", call(1, "lookup"), call(2, "lookup")], ["It ", "is."])
    api = await share_api(FakeModel(replies), spec(tool("lookup")), FakeTools(lookup=lambda _: [1]))
    whole = (await api.execute({"input": "Hi", "stream": True})).content
    path = f"/v1/executions/{frames(whole)[0][1]['executionId']}/stream"
    assert (await api.get(path)).content == whole
    for cursor, _ in frames(whole):
        seen = whole[: whole.index(b"\n\n", whole.index(b"id: %b\n" % cursor.encode())) + 2]
        by_header = await api.client.get(path, headers={"Last-Event-ID": cursor})
        assert seen + by_header.content == whole
        by_query = await api.get(path, after=cursor)
        assert seen + by_query.content == whole


async def test_a_live_stream_is_taken_up_where_it_was_cut(share_api: MakeApi) -> None:
    held = asyncio.Event()
    api = await share_api(FakeModel(by_turn(["one ", "two ", held, "three"])))
    async with api.listening() as client:
        body = {"input": "Hi", "stream": True}
        async with client.stream("POST", "/v1/agents/agent/execute", json=body) as response:
            execution_id = response.headers["x-execution-id"]
            seen = await read_until(response.aiter_lines(), "two")
        cursor = next(line for line in reversed(seen) if line.startswith("id: "))[4:]
        await until(lambda: not api.core.streams.followers and not api.app.state.streams)
        path = f"/v1/executions/{execution_id}/stream"
        async with client.stream("GET", path, headers={"Last-Event-ID": cursor}) as response:
            held.set()
            rest = frames(await response.aread())
        assert [data.get("text") for _, data in rest] == ["three", None]
        assert kinds(rest) == ["text_delta", "done"]
    assert (await api.rested(execution_id))["output"] == "one two three"


async def test_a_client_that_leaves_a_waiting_request_stops_nothing(share_api: MakeApi) -> None:
    held = asyncio.Event()
    model = FakeModel(by_turn(["Hel", held, "lo"]))
    api = await share_api(model)
    async with api.listening() as client:
        asking = asyncio.create_task(client.post("/v1/agents/agent/execute", json={"input": "Hi"}))
        async with asyncio.timeout(BOUND):
            await model.spoke.wait()
        asking.cancel()
        await asyncio.wait({asking})
    (listed,) = (await api.get("/v1/executions")).json()["data"]
    held.set()
    assert (await api.rested(listed["id"]))["status"] == "completed"


async def test_a_silent_stream_says_that_it_lives(make_api: MakeApi) -> None:
    held = asyncio.Event()
    api = await make_api(FakeModel(by_turn(["Hel", held, "lo"])))
    api.app.state.streams.keep_alive = 0.05
    async with api.listening() as client:
        body = {"input": "Hi", "stream": True}
        async with client.stream("POST", "/v1/agents/agent/execute", json=body) as response:
            lines = response.aiter_lines()
            await read_until(lines, ": keep-alive")
            held.set()
            assert await read_until(lines, '"done"')


async def test_a_server_that_leaves_tells_its_streams_to_come_back(make_api: MakeApi) -> None:
    held = asyncio.Event()
    model = FakeModel(by_turn(["Hel", held, "lo"]))
    api = await make_api(model)
    async with api.listening() as client:
        body = {"input": "Hi", "stream": True}
        async with client.stream("POST", "/v1/agents/agent/execute", json=body) as response:
            lines = response.aiter_lines()
            await read_until(lines, "Hel")
            api.app.state.streams.end()
            assert "retry: 1000" in await read_until(lines, "never said")
        path = f"/v1/executions/{response.headers['x-execution-id']}/stream"
        assert (await client.get(path)).text == "retry: 1000\n", "the same to those that come now"
    held.set()
    assert (await api.rested(response.headers["x-execution-id"]))["output"] == "Hello"


@pytest.mark.parametrize("cursor", ["x", "1", "1-", "-1-1", "1-2-3", "9" * 40 + "-1", "99-1"])
async def test_an_unknown_cursor_is_400(api: Api, cursor: str) -> None:
    execution_id = (await api.execute({"input": "Hi"})).json()["id"]
    path = f"/v1/executions/{execution_id}/stream"
    response = await api.get(path, after=cursor)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "after"
    response = await api.client.get(path, headers={"Last-Event-ID": cursor})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "Last-Event-ID"


async def test_an_unknown_execution_has_no_stream(api: Api) -> None:
    for unknown in ("exec_abc", "exec_01k6zj3t7hf2a9q1x5m8r4c0vb"):
        response = await api.get(f"/v1/executions/{unknown}/stream")
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "execution_not_found"


async def test_500_streams_of_one_execution_end_and_leave_nothing(make_api: MakeApi) -> None:
    held = asyncio.Event()
    api = await make_api(FakeModel(by_turn(["Hel", held, "lo"])))
    api.app.state.streams.keep_alive = BOUND
    execution_id = await api.started()
    asking = [
        asyncio.create_task(api.get(f"/v1/executions/{execution_id}/stream")) for _ in range(500)
    ]
    await until(lambda: len(api.app.state.streams) == 500)
    held.set()
    contents = {response.content for response in await asyncio.gather(*asking)}
    assert len(contents) == 1
    assert len(api.app.state.streams) == 0
    assert api.core.streams.followers == 0


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_behind_the_last_frame_of_an_ended_execution_there_is_nothing(
    share_api: MakeApi, end: str
) -> None:
    held = asyncio.Event()
    replies: dict[str, Reply] = {
        "completed": ["a"],
        "failed": [ModelRejected("no")],
        "cancelled": ["a", held],
    }
    model = FakeModel(by_turn(replies[end]))
    api = await share_api(model)
    run = await api.started()
    path = f"/v1/executions/{run}/stream"
    if end == "cancelled":
        async with asyncio.timeout(BOUND):
            await model.spoke.wait()
        assert (await api.client.post(f"/v1/executions/{run}/cancel")).status_code == 200
    assert (await api.rested(run))["status"] == end
    *before, last = [cursor for cursor, _ in frames((await api.get(path)).content)]
    for headers, query in (({"Last-Event-ID": last}, {}), ({}, {"after": last})):
        answer = await api.client.get(path, headers=headers, params=query)
        assert (answer.status_code, answer.content) == (204, b"")
        for cursor in before:
            earlier = dict.fromkeys(headers, cursor), dict.fromkeys(query, cursor)
            answer = await api.client.get(path, headers=earlier[0], params=earlier[1])
            assert answer.status_code == 200
            assert frames(answer.content)[-1][0] == last


async def test_behind_what_a_live_execution_has_said_a_client_waits(share_api: MakeApi) -> None:
    held = asyncio.Event()
    model = FakeModel(by_turn(["one ", held, "two"]))
    api = await share_api(model)
    run = await api.started()
    path = f"/v1/executions/{run}/stream"
    async with asyncio.timeout(BOUND):
        await model.spoke.wait()
    async with api.listening() as client:
        async with client.stream("GET", path) as response:
            seen = await read_until(response.aiter_lines(), "one")
        cursor = next(line for line in reversed(seen) if line.startswith("id: "))[4:]
        async with client.stream("GET", path, headers={"Last-Event-ID": cursor}) as response:
            assert response.status_code == 200
            held.set()
            assert kinds(frames(await response.aread()))[-1] == "done"
