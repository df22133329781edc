"""Processes that die and processes that freeze: what was accepted ends, once."""

import asyncio

import pytest

from tests.support.fleet import SPOKEN, Fleet, Log
from tests.support.waiting import until_found

pytestmark = pytest.mark.anyio

COUNTERS, SPEAKERS, FOLLOWED = 144, 12, 20
STEP = 2
"""The number of a counter's tool call: its first step is the model's request."""


async def test_three_hundred_in_flight_outlast_three_deaths_and_a_freeze_and_none_runs_twice(
    fleet: Fleet,
) -> None:
    tools = fleet.tools
    known = set(tools.calls)
    tools.answering.clear()
    idempotent = await fleet.many("idempotent", COUNTERS)
    read_only = await fleet.many("read_only", COUNTERS)
    speakers = await fleet.many("speaker", SPEAKERS)
    counters = idempotent + read_only
    followed = [*speakers, *counters[:FOLLOWED]]
    following = [asyncio.create_task(fleet.follow(name, "b", "a")) for name in followed]
    await tools.until(lambda: len(set(tools.calls) - known) == len(counters))
    keys = set(tools.calls) - known
    assert not await fleet.orphans()

    await fleet.kill("w1", "w2", "b")
    held = {key for key in keys if tools.callers[key] != ["w3"]}
    assert held
    await fleet.start("w1", "w2")
    await tools.until(lambda: all(tools.calls[key] == 2 for key in held))
    assert not await fleet.orphans()

    fleet.freeze("w3")
    tools.answering.set()
    frozen = {key for key in keys if tools.callers[key] == ["w3"]}
    assert frozen
    await tools.until(lambda: all(tools.calls[key] == 2 for key in frozen))
    fleet.thaw("w3")

    logs = await fleet.logs("a", counters + speakers)
    assert not await fleet.orphans()
    heard = dict(zip(followed, await asyncio.gather(*following), strict=True))
    assert heard == {name: logs[name] for name in followed}
    for name in counters:
        await _check_counter(fleet, name, logs[name])
    for name in speakers:
        assert len((await fleet.execution("a", name))["output"].split()) == SPOKEN
    assert set(tools.calls) - known == keys
    assert await fleet.taken_over("w1", "w2", "w3") >= len(held) + len(frozen)
    for name in ("a", "w1", "w2", "w3"):
        assert not await fleet.metric(name, "outlast_executions_orphaned_total")
    await _works_again(fleet, "w3")


async def _check_counter(fleet: Fleet, name: str, log: Log) -> None:
    """Every call of its tool is in the log, and none came after its result was recorded."""
    [started], [ended], [_] = log.of("tool_call_start"), log.of("tool_call_end"), log.of("done")
    calls = fleet.tools.calls[started["id"]]
    assert fleet.tools.executions[started["id"]] == {name}
    assert calls <= 1 + log.retries(STEP)
    last = max((n for n, frame in enumerate(log.data) if frame.get("step") == STEP), default=0)
    assert last < log.data.index(ended)
    assert log.cursors == sorted(set(log.cursors))
    execution = await fleet.execution("a", name)
    assert execution["status"] == "completed", execution
    assert [call["name"] for call in execution["toolCalls"]] == ["count"]


async def _works_again(fleet: Fleet, name: str) -> None:
    """Whoever was taken for dead runs executions again, all of them while the others cannot."""
    async with fleet.only(name):
        logs = await fleet.logs("a", await fleet.many("idempotent", 5, ["a"]))
    for log in logs.values():
        [started] = log.of("tool_call_start")
        assert fleet.tools.callers[started["id"]] == [name]


async def test_a_destructive_call_whose_worker_died_is_left_to_a_person(fleet: Fleet) -> None:
    tools = fleet.tools
    known = set(tools.calls)
    tools.answering.clear()
    async with fleet.only("w1"):
        ids = await fleet.many("destructive", 12)
        await tools.until(lambda: len(set(tools.calls) - known) == len(ids))
        await fleet.kill("w1")

    async def suspended() -> bool:
        found = [await fleet.execution("a", name) for name in ids]
        return all(execution["status"] == "suspended" for execution in found)

    await until_found(suspended)
    for name in ids:
        [approval] = (await fleet.execution("a", name))["pendingApprovals"]
        assert approval["kind"] == "unknown_outcome"
        assert tools.calls[approval["toolCallId"]] == 1
    assert not await fleet.orphans()
