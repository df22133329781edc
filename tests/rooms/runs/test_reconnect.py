"""Reconnect at every frame's index, in every format: the bytes are those of the uncut stream."""

import asyncio
from typing import Any

import pytest

from outlast.model.agent import Effect
from outlast.rooms.runs.stream.formats import Format
from outlast.testing import NamedModels, owner
from tests.support.api import Api, MakeApi
from tests.support.crashes import Crash
from tests.support.databases import Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.runs_room import PATH, decide, make_refund_api, split, suspended
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, until

pytestmark = pytest.mark.anyio
FORMATS = list(Format)


async def whole_of(api: Api, run: str, format: Format) -> list[bytes]:
    """The stream of a run that has ended, and at every index what is left of it."""
    path = f"{PATH}/{run}/stream"
    named: dict[str, Any] = {"format": format.value}
    uncut = await api.get(path, **named)
    assert uncut.status_code == 200
    frames = split(uncut.content)
    for index in range(len(frames)):
        rest = b"".join(frames[index:])
        by_query = await api.get(path, startIndex=index, **named)
        headers = {"x-stream-start-index": str(index)}
        by_header = await api.client.get(path, params=named, headers=headers)
        from_end = await api.get(path, startIndex=index - len(frames), **named)
        assert by_query.content == by_header.content == from_end.content == rest
        assert from_end.headers["x-workflow-stream-tail-index"] == str(len(frames) - 1)
        seen = frames[index].split(b"\n", 1)[0].removeprefix(b"id: ").decode()
        behind = await api.client.get(path, params=named, headers={"Last-Event-ID": seen})
        assert behind.content == b"".join(frames[index + 1 :])
    assert (await api.get(path, startIndex=len(frames), **named)).content == b""
    return frames


async def so_far(client: Any, run: str, format: Format, frames: int) -> list[bytes]:
    """The first frames of a stream that is held open."""
    found = b""
    url = f"{PATH}/{run}/stream"
    async with (
        asyncio.timeout(BOUND),
        client.stream("GET", url, params={"format": format.value}) as response,
    ):
        async for piece in response.aiter_bytes():
            found += piece
            if found.count(b"\n\n") >= frames:
                break
    return split(found)


@pytest.mark.parametrize("format", FORMATS)
async def test_before_during_and_after_an_approval(share_api: MakeApi, format: Format) -> None:
    api = await make_refund_api(share_api)
    run = await suspended(api)
    waiting = int(await _tail(api, run, format)) + 1
    async with api.listening() as client:
        before = await so_far(client, run, format, waiting)
        held = [
            asyncio.create_task(
                client.get(f"{PATH}/{run}/stream", params={"format": format, "startIndex": index})
            )
            for index in range(waiting + 1)
        ]
        await until(lambda: len(api.app.state.streams) == len(held))
        assert (await decide(api, run, approved=True)).status_code == 200
        during = [(await task).content for task in held]
    frames = await whole_of(api, run, format)
    assert before == frames[:waiting]
    assert during == [b"".join(frames[index:]) for index in range(waiting + 1)]
    assert len(frames) > waiting


async def _tail(api: Api, run: str, format: Format) -> str:
    async with (
        api.listening() as client,
        client.stream("GET", f"{PATH}/{run}/stream", params={"format": format.value}) as response,
    ):
        return str(response.headers["x-workflow-stream-tail-index"])


@pytest.mark.parametrize("format", FORMATS)
async def test_after_a_denial(share_api: MakeApi, format: Format) -> None:
    api = await make_refund_api(share_api)
    run = await suspended(api)
    await decide(api, run, approved=False, reason="Too much.")
    assert (await api.rested(run))["status"] == "completed"
    await whole_of(api, run, format)


@pytest.mark.parametrize("writes", [2, 3])
@pytest.mark.parametrize("format", FORMATS)
async def test_after_a_crash(
    make_api: MakeApi, database: Database, format: Format, writes: int
) -> None:
    replies = by_turn(["One ", "two ", call(1, "look")], ["three ", "four"])
    agent, tools = spec(tool("look", Effect.IDEMPOTENT)), FakeTools(look=lambda _: 1)
    crash = Crash(writes, commits_last=False)
    models = NamedModels({"actor": FakeModel(replies)})
    async with database.core(models=models, tools=tools, store=crash.store) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent, "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        async with asyncio.timeout(BOUND):
            await crash.happened.wait()
    api = await make_api(FakeModel(replies), agent, tools)
    run = started.execution.id
    assert (await api.rested(run))["output"] == "three four"
    frames = await whole_of(api, run, format)
    word = {"native": b'"retry"', "ui": b"data-retry", "openai": b"step-retried"}[format.value]
    assert sum(word in frame for frame in frames) >= 1


@pytest.mark.parametrize("format", FORMATS)
async def test_after_a_roll_back(share_api: MakeApi, format: Format) -> None:
    api = await make_refund_api(
        share_api, ["Look. ", call(1, "look")], ["Well, ", call(2, "look")], ["done."]
    )
    run = await suspended(api)
    await api.rested(run)
    executions = api.core.services.executions
    before = await whole_of(api, run, format)
    first, *_ = await executions.checkpoints(api.caller, run)
    await executions.resume(api.caller, run, first.id)
    assert (await api.rested(run))["status"] == "completed"
    frames = await whole_of(api, run, format)
    assert frames[: len(before)] == before
    assert len(frames) > len(before)
