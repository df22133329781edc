"""List pages, first and deep, with few and with many executions stored.

Two servers run side by side on databases that differ only in size; requests to them alternate, and
the median is taken.
"""

import time

from bench.client import Connection, ask_once, get
from bench.fill import copy_execution
from bench.lab import Lab
from bench.requests import KEY, execute
from bench.state import State
from bench.table import Row, median

PAGE = 20
TARGET_MS, GROWTH = 5.0, 1.2
WARM_UP = 20


async def measure(lab: Lab) -> list[Row]:
    """On each database."""
    return [row for kind in lab.kinds for row in await _measure(lab, kind)]


async def _measure(lab: Lab, kind: str) -> list[Row]:
    """Both pages at both sizes."""
    few = lab.states.empty(kind, "few")
    async with lab.ours(few) as child:
        original = (await ask_once(child.port, execute("answer"))).json()["id"]
    many = lab.states.copy(few, "many")
    sizes = lab.scale.few, lab.scale.many
    pages = {
        size: (state, copy_execution(state, original, size - 1)[PAGE])
        for size, state in zip(sizes, (few, many), strict=True)
    }
    times = await _serve(lab, pages)
    lab.states.drop(few, many)
    return [
        row
        for page in ("first", "deep")
        for row in _rows(few.label, page, *sizes, times[sizes[0], page], times[sizes[1], page])
    ]


async def _serve(
    lab: Lab, pages: dict[int, tuple[State, str]]
) -> dict[tuple[int, str], list[float]]:
    (few, (few_state, few_deep)), (many, (many_state, many_deep)) = pages.items()
    async with lab.ours(few_state) as one, lab.ours(many_state) as other:
        connections = {
            few: await Connection.open(one.port),
            many: await Connection.open(other.port),
        }
        first = get(f"/v1/executions?limit={PAGE}", KEY)
        asks = {
            (few, "first"): first,
            (many, "first"): first,
            (few, "deep"): get(f"/v1/executions?limit={PAGE}&after={few_deep}", KEY),
            (many, "deep"): get(f"/v1/executions?limit={PAGE}&after={many_deep}", KEY),
        }
        for name in ((few, "deep"), (many, "deep")):
            if (await connections[name[0]].ask(asks[name])).json()["hasMore"]:
                raise RuntimeError("The deep page is not the last one.")
        times: dict[tuple[int, str], list[float]] = {name: [] for name in asks}
        for _ in range(WARM_UP + lab.scale.pages):
            for name, request in asks.items():
                times[name].append(await _ask(connections[name[0]], request))
        for connection in connections.values():
            connection.close()
    return {name: values[WARM_UP:] for name, values in times.items()}


async def _ask(connection: Connection, request: bytes) -> float:
    start = time.perf_counter()
    answer = await connection.ask(request)
    seconds = time.perf_counter() - start
    if len(answer.json()["data"]) != PAGE:
        raise RuntimeError("The page is not full.")
    return seconds


def _rows(
    database: str, page: str, few: int, many: int, small: list[float], large: list[float]
) -> list[Row]:
    one, other = median(small) * 1000, median(large) * 1000
    growth = other / one
    return [
        Row(
            f"list, {page} page of {PAGE}, {few:,} executions",
            f"{one:.2f} ms",
            target=f"≤ {TARGET_MS:.0f} ms",
            met=one <= TARGET_MS,
            database=database,
        ),
        Row(
            f"list, {page} page of {PAGE}, {many:,} executions",
            f"{other:.2f} ms",
            f"at {few:,}: {one:.2f} ms",
            f"{growth:.2f}×",
            f"≤ {TARGET_MS:.0f} ms, ≤ {GROWTH}×",
            other <= TARGET_MS and growth <= GROWTH,
            database,
        ),
    ]
