"""Executions killed with `kill -9` after their first tool call: what completes, what ran twice.

Each execution calls a tool, then another. The provider (bench.controlled_provider) holds every
second request back, so that at the kill each first call is recorded and no second one has begun. On
Postgres the next server first waits until the dead one's jobs are free to take.
"""

import asyncio
import time
from typing import Any

from bench.client import Connection, ask_once, get, post
from bench.controlled_provider import TURNS
from bench.lab import Lab
from bench.process import Child
from bench.requests import execute, fetch
from bench.state import State
from bench.table import Row

WITHIN = 10.0
BOUND = 60.0
PAUSE = 0.02


async def measure(lab: Lab) -> list[Row]:
    """On each database."""
    rows = []
    for kind in lab.kinds:
        state = lab.states.empty(kind, "crash")
        rows += await _measure(lab, state)
        lab.states.drop(state)
    return rows


async def _measure(lab: Lab, state: State) -> list[Row]:
    """Start them, kill the server, start it again, wait, count."""
    count, places = lab.scale.killed, 2 * lab.scale.killed
    before = (await _counts(lab))["calls"]
    (await ask_once(lab.controlled.port, post("/gate", {"open": False}))).json()
    async with lab.ours(state, concurrency=places, provider_url=lab.controlled_url) as first:
        ids = await _begin(first, count)
        await _all_held(lab, count)
        first.kill()
    (await ask_once(lab.controlled.port, post("/gate", {"open": True}))).json()
    child = lab.start(state, concurrency=places, provider_url=lab.controlled_url)
    try:
        completed, seconds = await _wait(child, ids)
    finally:
        await child.stop()
    calls = (await _counts(lab))["calls"]
    own = {key: times - before.get(key, 0) for key, times in calls.items()}
    return _rows(state.label, count, completed, seconds, own)


async def _begin(child: Child, count: int) -> list[str]:
    request = execute("turns", background=True)
    connection = await Connection.open(child.port)
    try:
        return [(await connection.ask(request)).json()["id"] for _ in range(count)]
    finally:
        connection.close()


async def _all_held(lab: Lab, count: int) -> None:
    async with asyncio.timeout(BOUND):
        while (await _counts(lab))["held"] < count:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(PAUSE)


async def _counts(lab: Lab) -> dict[str, Any]:
    found: dict[str, Any] = (await ask_once(lab.controlled.port, get("/counts"))).json()
    return found


async def _wait(child: Child, ids: list[str]) -> tuple[int, float]:
    """How many completed, and seconds from the restart to the last of them."""
    await child.ready("/readyz")
    waiting, completed = set(ids), 0
    while waiting and time.perf_counter() - child.started < BOUND:
        for one in sorted(waiting):
            status = (await fetch(child, f"/v1/executions/{one}"))["status"]
            if status in {"completed", "failed", "cancelled", "suspended"}:
                waiting.discard(one)
                completed += status == "completed"
        await asyncio.sleep(PAUSE)
    return completed, time.perf_counter() - child.started


def _rows(
    database: str, count: int, completed: int, seconds: float, calls: dict[str, int]
) -> list[Row]:
    keyless = calls.pop("", 0)
    calls = {key: times for key, times in calls.items() if times}
    twice = sum(times > 1 for times in calls.values()) + keyless
    expected = count * TURNS
    return [
        Row(
            f"{count} runs killed after their first tool call, completed",
            f"{completed}",
            "bare 0 (stores nothing)",
            target=f"{count}",
            met=completed == count,
            database=database,
        ),
        Row(
            f"{count} runs killed, tool calls (of them run twice)",
            f"{sum(calls.values()) + keyless} ({twice})",
            target=f"{expected} (0)",
            met=twice == 0 and len(calls) == expected,
            database=database,
        ),
        Row(
            f"{count} runs killed, restart to the last completed",
            f"{seconds:.1f} s",
            target=f"≤ {WITHIN:.0f} s",
            met=seconds <= WITHIN and completed == count,
            database=database,
        ),
    ]
