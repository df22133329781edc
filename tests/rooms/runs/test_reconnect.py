"""Reconnect at every frame's index, in every format: the bytes are those of the uncut stream."""

import asyncio
from typing import Any

import pytest

from outlast.model.agent import Effect
from outlast.rooms.runs.stream.formats import Format
from outlast.testing import NamedModels, owner
from tests.database import Database
from tests.engine.world import Actor, Bench, Crash, by_turn, call, spec, start_request, tool
from tests.rooms.conftest import Build
from tests.rooms.house import BOUND, House, until
from tests.rooms.runs.desk import PATH, decide, desk, split, suspended

pytestmark = pytest.mark.anyio
FORMATS = list(Format)


async def whole_of(house: House, run: str, format: Format) -> list[bytes]:
    """The stream of a run that has ended, and at every index what is left of it."""
    path = f"{PATH}/{run}/stream"
    named: dict[str, Any] = {"format": format.value}
    uncut = await house.get(path, **named)
    assert uncut.status_code == 200
    frames = split(uncut.content)
    for index in range(len(frames)):
        rest = b"".join(frames[index:])
        by_query = await house.get(path, startIndex=index, **named)
        headers = {"x-stream-start-index": str(index)}
        by_header = await house.client.get(path, params=named, headers=headers)
        from_end = await house.get(path, startIndex=index - len(frames), **named)
        assert by_query.content == by_header.content == from_end.content == rest
        assert from_end.headers["x-workflow-stream-tail-index"] == str(len(frames) - 1)
        seen = frames[index].split(b"\n", 1)[0].removeprefix(b"id: ").decode()
        behind = await house.client.get(path, params=named, headers={"Last-Event-ID": seen})
        assert behind.content == b"".join(frames[index + 1 :])
    assert (await house.get(path, startIndex=len(frames), **named)).content == b""
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
async def test_before_during_and_after_an_approval(build: Build, format: Format) -> None:
    house = await desk(build)
    run = await suspended(house)
    waiting = int(await _tail(house, run, format)) + 1
    async with house.listening() as client:
        before = await so_far(client, run, format, waiting)
        held = [
            asyncio.create_task(
                client.get(f"{PATH}/{run}/stream", params={"format": format, "startIndex": index})
            )
            for index in range(waiting + 1)
        ]
        await until(lambda: len(house.app.state.streams) == len(held))
        assert (await decide(house, run, approved=True)).status_code == 200
        during = [(await task).content for task in held]
    frames = await whole_of(house, run, format)
    assert before == frames[:waiting]
    assert during == [b"".join(frames[index:]) for index in range(waiting + 1)]
    assert len(frames) > waiting


async def _tail(house: House, run: str, format: Format) -> str:
    async with (
        house.listening() as client,
        client.stream("GET", f"{PATH}/{run}/stream", params={"format": format.value}) as response,
    ):
        return str(response.headers["x-workflow-stream-tail-index"])


@pytest.mark.parametrize("format", FORMATS)
async def test_after_a_denial(build: Build, format: Format) -> None:
    house = await desk(build)
    run = await suspended(house)
    await decide(house, run, approved=False, reason="Too much.")
    assert (await house.rested(run))["status"] == "completed"
    await whole_of(house, run, format)


@pytest.mark.parametrize("writes", [2, 3])
@pytest.mark.parametrize("format", FORMATS)
async def test_after_a_crash(build: Build, database: Database, format: Format, writes: int) -> None:
    replies = by_turn(["One ", "two ", call(1, "look")], ["three ", "four"])
    agent, bench = spec(tool("look", Effect.IDEMPOTENT)), Bench(look=lambda _: 1)
    crash = Crash(writes, commits_last=False)
    models = NamedModels({"actor": Actor(replies)})
    async with database.core(models=models, tools=bench, store=crash.store) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent, "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        async with asyncio.timeout(BOUND):
            await crash.dead.wait()
    house = await build(Actor(replies), agent, bench)
    run = started.execution.id
    assert (await house.rested(run))["output"] == "three four"
    frames = await whole_of(house, run, format)
    word = {"native": b'"retry"', "ui": b"data-retry", "openai": b"step-retried"}[format.value]
    assert sum(word in frame for frame in frames) >= 1


@pytest.mark.parametrize("format", FORMATS)
async def test_after_a_roll_back(build: Build, format: Format) -> None:
    house = await desk(build, ["Look. ", call(1, "look")], ["Well, ", call(2, "look")], ["done."])
    run = await suspended(house)
    await house.rested(run)
    executions = house.core.services.executions
    before = await whole_of(house, run, format)
    first, *_ = await executions.checkpoints(house.caller, run)
    await executions.resume(house.caller, run, first.id)
    assert (await house.rested(run))["status"] == "completed"
    frames = await whole_of(house, run, format)
    assert frames[: len(before)] == before
    assert len(frames) > len(before)
