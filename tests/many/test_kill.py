"""Processes that die and processes that freeze: what was accepted ends, once."""

import asyncio

import pytest

from tests.many.world import SPOKEN, Log, Town, until

pytestmark = pytest.mark.anyio

COUNTERS, SPEAKERS, FOLLOWED = 144, 12, 20
STEP = 2
"""The number of a counter's tool call: its first step is the model's request."""


async def test_three_hundred_in_flight_outlast_three_deaths_and_a_freeze_and_none_runs_twice(
    town: Town,
) -> None:
    tools = town.tools
    known = set(tools.calls)
    tools.answering.clear()
    idempotent = await town.many("idempotent", COUNTERS)
    read_only = await town.many("read_only", COUNTERS)
    speakers = await town.many("speaker", SPEAKERS)
    counters = idempotent + read_only
    followed = [*speakers, *counters[:FOLLOWED]]
    following = [asyncio.create_task(town.follow(name, "b", "a")) for name in followed]
    await tools.until(lambda: len(set(tools.calls) - known) == len(counters))
    keys = set(tools.calls) - known
    assert not await town.orphans()

    await town.kill("w1", "w2", "b")
    held = {key for key in keys if tools.callers[key] != ["w3"]}
    assert held
    await town.start("w1", "w2")
    await tools.until(lambda: all(tools.calls[key] == 2 for key in held))
    assert not await town.orphans()

    town.freeze("w3")
    tools.answering.set()
    frozen = {key for key in keys if tools.callers[key] == ["w3"]}
    assert frozen
    await tools.until(lambda: all(tools.calls[key] == 2 for key in frozen))
    town.thaw("w3")

    logs = await town.logs("a", counters + speakers)
    assert not await town.orphans()
    heard = dict(zip(followed, await asyncio.gather(*following), strict=True))
    assert heard == {name: logs[name] for name in followed}
    for name in counters:
        await _check_counter(town, name, logs[name])
    for name in speakers:
        assert len((await town.execution("a", name))["output"].split()) == SPOKEN
    assert set(tools.calls) - known == keys
    assert await town.taken_over("w1", "w2", "w3") >= len(held) + len(frozen)
    for name in ("a", "w1", "w2", "w3"):
        assert not await town.metric(name, "outlast_executions_orphaned_total")
    await _works_again(town, "w3")


async def _check_counter(town: Town, name: str, log: Log) -> None:
    """Every call of its tool is told in the log, and none came after its result was recorded."""
    [started], [ended], [_] = log.of("tool_call_start"), log.of("tool_call_end"), log.of("done")
    calls = town.tools.calls[started["id"]]
    assert town.tools.executions[started["id"]] == {name}
    assert calls <= 1 + log.retries(STEP)
    last = max((n for n, frame in enumerate(log.data) if frame.get("step") == STEP), default=0)
    assert last < log.data.index(ended)
    assert log.cursors == sorted(set(log.cursors))
    execution = await town.execution("a", name)
    assert execution["status"] == "completed", execution
    assert [call["name"] for call in execution["toolCalls"]] == ["count"]


async def _works_again(town: Town, name: str) -> None:
    """Whoever was taken for dead runs executions again, all of them while the others cannot."""
    async with town.only(name):
        logs = await town.logs("a", await town.many("idempotent", 5, ["a"]))
    for log in logs.values():
        [started] = log.of("tool_call_start")
        assert town.tools.callers[started["id"]] == [name]


async def test_a_destructive_call_whose_worker_died_is_left_to_a_person(town: Town) -> None:
    tools = town.tools
    known = set(tools.calls)
    tools.answering.clear()
    async with town.only("w1"):
        ids = await town.many("destructive", 12)
        await tools.until(lambda: len(set(tools.calls) - known) == len(ids))
        await town.kill("w1")

    async def suspended() -> bool:
        found = [await town.execution("a", name) for name in ids]
        return all(execution["status"] == "suspended" for execution in found)

    await until(suspended)
    for name in ids:
        [asked] = (await town.execution("a", name))["pendingApprovals"]
        assert asked["kind"] == "unknown_outcome"
        assert tools.calls[asked["toolCallId"]] == 1
    assert not await town.orphans()
