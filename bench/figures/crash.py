"""Executions killed with `kill -9` after their first tool call: what completes, what ran twice.

Each execution calls a tool, then another. The provider (bench.workshop) holds every second request
back, so that at the kill each first call is recorded and no second one has begun.
"""

import asyncio
import time
from typing import Any

from bench.client import Connection, ask_once, get, post
from bench.lab import Lab, execute, fetch
from bench.process import Child
from bench.table import Row
from bench.workshop import TURNS

WITHIN = 10.0
BOUND = 60.0
PAUSE = 0.02


async def measure(lab: Lab) -> list[Row]:
    """Start them, kill the server, start it again, wait, count."""
    count, data = lab.scale.killed, lab.data("crash")
    before = await _counts(lab)
    provider_url = f"http://127.0.0.1:{lab.workshop.port}/v1"
    async with lab.ours(data, concurrency=2 * count, provider_url=provider_url) as first:
        ids = await _begin(first, count)
        await _all_held(lab, count)
        first.kill()
    (await ask_once(lab.workshop.port, post("/gate", {}))).json()
    child = lab.start_ours(data, concurrency=2 * count, provider_url=provider_url)
    try:
        completed, seconds = await _wait(child, ids)
    finally:
        await child.stop()
    lab.drop(data)
    calls = (await _counts(lab))["calls"]
    return _rows(
        count, completed, seconds, {k: n - before["calls"].get(k, 0) for k, n in calls.items()}
    )


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
    found: dict[str, Any] = (await ask_once(lab.workshop.port, get("/counts"))).json()
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


def _rows(count: int, completed: int, seconds: float, calls: dict[str, int]) -> list[Row]:
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
        ),
        Row(
            f"{count} runs killed, tool calls (of them run twice)",
            f"{sum(calls.values()) + keyless} ({twice})",
            target=f"{expected} (0)",
            met=twice == 0 and len(calls) == expected,
        ),
        Row(
            f"{count} runs killed, restart to the last completed",
            f"{seconds:.1f} s",
            target=f"≤ {WITHIN:.0f} s",
            met=seconds <= WITHIN and completed == count,
        ),
    ]
