"""First tokens and pages of the list while old conversations are deleted, and without that.

Two servers run side by side on databases with the same executions; in one of them all are past
their retention, and the maintenance of its server deletes them. Requests to both alternate.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from bench.client import Connection, ask_once, get
from bench.fill import copy_execution
from bench.lab import Lab
from bench.load import first_token
from bench.requests import KEY, TOKEN, execute
from bench.state import State
from bench.table import Row, percentile

PAGE = 20
GROWTH = 1.2
WARM_UP = 10
BEGINS_SECONDS = 120.0
"""The duty looks once a minute."""
AGE_MS = 100 * 24 * 60 * 60 * 1000
_OLD = f"UPDATE conversations SET last_active_at = last_active_at - {AGE_MS}"
_LEFT = "SELECT count(*) FROM conversations"
_EMPTIED = "SELECT count(*) FROM executions WHERE is_purged AND NOT purging"

Ask = Callable[[], Awaitable[float]]


async def measure(lab: Lab) -> list[Row]:
    """On each database."""
    return [row for kind in lab.kinds for row in await _measure(lab, kind)]


async def _measure(lab: Lab, kind: str) -> list[Row]:
    kept = lab.states.empty(kind, "kept")
    async with lab.ours(kept) as child:
        original = (await ask_once(child.port, execute("answer"))).json()["id"]
    copy_execution(kept, original, lab.scale.many)
    old = lab.states.copy(kept, "old")
    old.rows(_OLD)
    old.rows("UPDATE workspaces SET plan = 'starter'")
    async with AsyncExitStack() as stack:
        ports = [(await stack.enter_async_context(lab.ours(one))).port for one in (kept, old)]
        await _begun(old, lab.scale.many)
        asks: dict[str, list[Ask]] = {"first token": [], "list": []}
        for port in ports:  # only now: a server closes connections that are idle for a minute
            connection = await Connection.open(port)
            stack.callback(connection.close)
            asks["first token"].append(_token(connection))
            asks["list"].append(_page(connection))
        began = time.perf_counter()
        times = {
            name: await _alternate(both, lab.scale.first_tokens) for name, both in asks.items()
        }
        seconds = time.perf_counter() - began
        emptied, left = old.rows(_EMPTIED)[0][0], old.rows(_LEFT)[0][0]
    lab.states.drop(kept, old)
    if not left:
        raise RuntimeError("All was deleted before the figure was taken; it wants more executions.")
    figure = f"purge of {lab.scale.many:,} executions, emptied beside that load"
    return [
        *(_row(kept.label, name, lab.scale.many, *found) for name, found in times.items()),
        Row(figure, f"{emptied / seconds:.0f}/s", database=kept.label),
    ]


async def _begun(state: State, many: int) -> None:
    """Return once the first conversations are deleted."""
    async with asyncio.timeout(BEGINS_SECONDS):
        while state.rows(_LEFT)[0][0] > many:  # noqa: ASYNC110 - another process deletes them
            await asyncio.sleep(0.2)


def _token(connection: Connection) -> Ask:
    return lambda: first_token(connection, execute("first", stream=True), TOKEN)


def _page(connection: Connection) -> Ask:
    request = get(f"/v1/executions?limit={PAGE}", KEY)

    async def ask() -> float:
        start = time.perf_counter()
        answer = await connection.ask(request)
        seconds = time.perf_counter() - start
        if len(answer.json()["data"]) != PAGE:
            raise RuntimeError("The page is not full.")
        return seconds

    return ask


async def _alternate(both: list[Ask], samples: int) -> tuple[list[float], list[float]]:
    """The times without and with a purge."""
    without, with_purge = both
    pairs = [(await without(), await with_purge()) for _ in range(WARM_UP + samples)][WARM_UP:]
    return [one for one, _ in pairs], [other for _, other in pairs]


def _row(database: str, name: str, many: int, without: list[float], with_purge: list[float]) -> Row:
    one, other = (percentile(times, 0.99) * 1000 for times in (without, with_purge))
    return Row(
        f"purge of {many:,} executions, {name}, p99",
        f"{other:.1f} ms",
        f"without {one:.1f} ms",
        f"{other / one:.2f}×",
        f"≤ {GROWTH}×",
        other <= GROWTH * one,
        database,
    )
