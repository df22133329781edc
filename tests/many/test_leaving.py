"""Processes that leave in order, under load: nothing is lost, and nothing waits for a take-over."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

import httpx2
import pytest

from tests.support.fleet import FIVE, WORD_MILLIS, Fleet
from tests.support.waiting import until_found

pytestmark = pytest.mark.anyio

HELD, CALLERS = 30, 3


async def test_what_a_leaving_worker_has_goes_on_elsewhere_without_a_take_over(
    fleet: Fleet,
) -> None:
    tools = fleet.tools
    known = set(tools.calls)
    tools.answering.clear()
    ids = await fleet.many("idempotent", HELD)
    await tools.until(lambda: len(set(tools.calls) - known) == HELD)
    keys = set(tools.calls) - known
    leaver = max(FIVE[2:], key=lambda name: sum(tools.callers[key] == [name] for key in keys))
    others = set(FIVE[2:]) - {leaver}
    before = await fleet.taken_over(*others)

    os.kill(fleet.processes[leaver].pid, signal.SIGTERM)
    await until_found(lambda: _takes_no_work(fleet, leaver))
    tools.answering.set()
    assert await fleet.processes[leaver].ended() == 0
    for log in (await fleet.logs("a", ids)).values():
        assert log.of("done")
        assert not log.of("retry")
    assert {tools.calls[key] for key in keys} == {1}
    assert await fleet.taken_over(*others) == before
    assert not await fleet.orphans()


async def _takes_no_work(fleet: Fleet, name: str) -> bool:
    return (await fleet.clients[name].get("/readyz")).status_code == 503


async def test_a_rolling_restart_of_all_processes_under_load_loses_nothing(fleet: Fleet) -> None:
    known = set(fleet.tools.calls)
    async with _load(fleet) as accepted:
        for names in (("a", "w1"), ("b", "w2"), ("w3",)):
            enough = len(accepted) + CALLERS
            await fleet.leave(*names)
            await until_found(partial(_at_least, accepted, enough))
            await fleet.start(*names)
            await fleet.ready(*names)
    logs = await fleet.logs("b", accepted)
    for name, log in logs.items():
        [started], [_] = log.of("tool_call_start"), log.of("done")
        assert not log.of("retry")
        assert fleet.tools.calls[started["id"]] == 1
        assert (await fleet.execution("a", name))["status"] == "completed"
    assert {fleet.tools.calls[key] for key in set(fleet.tools.calls) - known} == {1}
    assert not await fleet.orphans()


async def _at_least(accepted: list[str], wanted: int) -> bool:
    return len(accepted) >= wanted


@asynccontextmanager
async def _load(fleet: Fleet) -> AsyncIterator[list[str]]:
    """Callers who start one execution after the other; the ids of those that were accepted."""
    accepted: list[str] = []
    over = asyncio.Event()
    fleet.provider.delay_ms = 20.0

    async def call(number: int) -> None:
        for turn in count(number):
            if over.is_set():
                return
            api = "ab"[turn % 2]
            with_key = {"idempotency-key": f"caller {number} turn {turn}"}
            try:
                answer = await fleet.clients[api].post(
                    "/v1/agents/idempotent/execute", json={"input": "Go"}, headers=with_key
                )
            except httpx2.TransportError:
                await asyncio.sleep(0.02)  # this one is leaving or gone; the next turn is the other
                continue
            assert answer.status_code in (200, 202), answer.text
            accepted.append(str(answer.json()["id"]))

    async with asyncio.TaskGroup() as group:
        for number in range(CALLERS):
            group.create_task(call(number * 1_000_000))
        try:
            yield accepted
        finally:
            over.set()
            fleet.provider.delay_ms = WORD_MILLIS
