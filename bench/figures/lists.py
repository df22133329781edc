"""List pages, first and deep, with few and with many executions stored.

Two servers run side by side on databases that differ only in size; requests to them alternate, and
the median is taken.
"""

import shutil
import time
from pathlib import Path

from bench.client import Connection, ask_once, get
from bench.fill import copy_execution
from bench.lab import KEY, Lab, database, execute
from bench.table import Row, median

PAGE = 20
TARGET_MS, GROWTH = 5.0, 1.2
WARM_UP = 20


async def measure(lab: Lab) -> list[Row]:
    """Both pages at both sizes."""
    few, many = lab.data("few"), lab.scale.many
    async with lab.ours(few) as child:
        original = (await ask_once(child.port, execute("answer"))).json()["id"]
    folder = lab.room / "many"
    shutil.copytree(few, folder)
    pages = {
        lab.scale.few: (few, _fill(few, original, lab.scale.few)),
        many: (folder, _fill(folder, original, many)),
    }
    times = await _serve(lab, pages)
    lab.drop(few, folder)
    return [
        row
        for page in ("first", "deep")
        for row in _rows(page, lab.scale.few, many, times[lab.scale.few, page], times[many, page])
    ]


def _fill(folder: Path, original: str, count: int) -> str:
    """Fill up to so many executions; the id after which the last full page begins."""
    return copy_execution(database(folder), original, count - 1)[PAGE]


async def _serve(
    lab: Lab, pages: dict[int, tuple[Path, str]]
) -> dict[tuple[int, str], list[float]]:
    (few, (few_data, few_deep)), (many, (many_data, many_deep)) = pages.items()
    async with lab.ours(few_data) as one, lab.ours(many_data) as other:
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


def _rows(page: str, few: int, many: int, small: list[float], large: list[float]) -> list[Row]:
    one, other = median(small) * 1000, median(large) * 1000
    growth = other / one
    return [
        Row(
            f"list, {page} page of {PAGE}, {few:,} executions",
            f"{one:.2f} ms",
            target=f"≤ {TARGET_MS:.0f} ms",
            met=one <= TARGET_MS,
        ),
        Row(
            f"list, {page} page of {PAGE}, {many:,} executions",
            f"{other:.2f} ms",
            f"at {few:,}: {one:.2f} ms",
            f"{growth:.2f}×",
            f"≤ {TARGET_MS:.0f} ms, ≤ {GROWTH}×",
            other <= TARGET_MS and growth <= GROWTH,
        ),
    ]
