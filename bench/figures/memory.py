"""Search in a memory store of 10,000 items, over HTTP."""

import asyncio
import random
import time
from collections.abc import Callable

from bench.client import Connection, ask_once, post
from bench.lab import Lab
from bench.requests import KEY
from bench.state import SQLITE
from bench.table import Row, median

TARGET_MS = 10.0
WORDS = 2_000
"""Different words of all items; the nth is in an item by chance of about 1 to n."""
LENGTH = 60
"""Words of an item."""
WRITERS = 8
WARM_UP = 20


async def measure(lab: Lab) -> list[Row]:
    """On each database."""
    return [row for kind in lab.kinds for row in await _measure(lab, kind)]


async def _measure(lab: Lab, kind: str) -> list[Row]:
    state = lab.states.empty(kind, "memory")
    chance = random.Random(1)
    async with lab.ours(state) as child:
        created = await ask_once(child.port, post("/v1/memory-stores", {"name": "bench"}, KEY))
        path = f"/v1/memory-stores/{created.json()['id']}"
        items = [(f"notes/{number}", _text(chance)) for number in range(lab.scale.items)]
        await write(child.port, path, items)
        if kind != SQLITE:
            state.rows("ANALYZE memory_items")  # autovacuum does it within a minute
        connection = await Connection.open(child.port)
        times = {
            "two words": await _times(lab, connection, path, lambda: _words(chance, 2)),
            "a word of most items": await _times(lab, connection, path, lambda: "w1"),
        }
        connection.close()
    lab.states.drop(state)
    return [
        Row(
            f"search of {lab.scale.items:,} items, {name}",
            f"{median(found) * 1000:.2f} ms",
            target=f"≤ {TARGET_MS:.0f} ms",
            met=median(found) * 1000 <= TARGET_MS,
            database=state.label,
        )
        for name, found in times.items()
    ]


def _words(chance: random.Random, count: int) -> str:
    return " ".join(f"w{min(WORDS, int(chance.paretovariate(0.5)))}" for _ in range(count))


def _text(chance: random.Random) -> str:
    return _words(chance, LENGTH)


async def write(port: int, path: str, items: list[tuple[str, str]]) -> None:
    """Write items by key, several at a time."""

    async def writer(share: list[tuple[str, str]]) -> None:
        connection = await Connection.open(port)
        for key, content in share:
            request = post(f"{path}/items/{key}", {"content": content}, KEY)
            answer = await connection.ask(request.replace(b"POST", b"PUT", 1))
            if answer.status != 201:
                raise RuntimeError(f"An item was not written: {answer.status}.")
        connection.close()

    size = -(-len(items) // WRITERS)
    async with asyncio.TaskGroup() as group:
        for at in range(0, len(items), size):
            group.create_task(writer(items[at : at + size]))


async def _times(
    lab: Lab, connection: Connection, path: str, query: Callable[[], str]
) -> list[float]:
    times: list[float] = []
    for _ in range(WARM_UP + lab.scale.pages):
        request = post(f"{path}/search", {"query": query(), "limit": 10}, KEY)
        start = time.perf_counter()
        answer = await connection.ask(request)
        times.append(time.perf_counter() - start)
        if answer.status != 200:
            raise RuntimeError("A search has failed.")
    return times[WARM_UP:]
