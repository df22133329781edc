"""Trees of executions: what ten children cost beside ten runs, parents at rest, cancels, records.

A parent of ten children makes two model requests of its own, so that twelve are compared with ten.
The tree that is cancelled has three levels: a root, ten children, and a silent model below each.
"""

import asyncio
import time

from bench.client import ask_once, get
from bench.figures import suspended
from bench.lab import Lab
from bench.load import Rate, middle, run_many
from bench.requests import KEY, cancel, execute, fetch, follow, is_completed
from bench.state import LABELS, POSTGRESQL, SQLITE
from bench.table import Row, median, with_database
from bench.ways import Way, open_way

CHILDREN = 10
TARGET = 1.6
BOUND = 240.0
LOOK_SECONDS = 0.01
CANCEL_SECONDS = {SQLITE: 0.05, POSTGRESQL: 0.25}
MIB = 1024 * 1024


async def measure(lab: Lab) -> list[Row]:
    """On each database."""
    rows: list[Row] = []
    for kind in lab.kinds:
        rows += await _runs(lab, kind)
        rows += await suspended.parents(lab, kind)
        async with open_way(lab, kind) as way:
            rows.append(await _cancels(lab, way))
        rows.append(await _nestings(lab, kind))
    return rows


async def _runs(lab: Lab, kind: str) -> list[Row]:
    """Parents beside as many plain runs as they have children; rounds alternate."""
    state = lab.states.empty(kind, "trees")
    runs = max(CHILDREN, lab.scale.runs // CHILDREN * CHILDREN)
    plain: list[Rate] = []
    trees: list[Rate] = []
    async with lab.ours(state) as child:
        for round_ in range(lab.scale.rounds + 1):
            for agent, rates, share in (("answer", plain, 1), ("ten", trees, CHILDREN)):
                rate = await run_many(
                    child,
                    execute(agent),
                    is_completed,
                    runs=runs // share,
                    concurrency=2 * CHILDREN // share,
                    bound=BOUND,
                    database=lab.database_cpu(kind),
                )
                if round_:  # round 0 warms up
                    rates.append(rate)
    lab.states.drop(state)
    one, ten = middle(plain), middle(trees)
    slower = one.per_second / CHILDREN / ten.per_second
    dearer = (ten.cpu_ms + ten.database_ms) / (one.cpu_ms + one.database_ms) / CHILDREN
    return [
        Row(
            "parents of 10 children/s",
            f"{ten.per_second:.1f}",
            f"tens of plain runs {one.per_second / CHILDREN:.1f}",
            f"{slower:.2f}×",
            f"≤ {TARGET}×",
            slower <= TARGET,
            LABELS[kind],
        ),
        Row(
            "CPU of a parent of 10 children",
            with_database(f"{ten.cpu_ms:.1f} ms", ten.database_ms, "ms"),
            f"ten plain runs {CHILDREN * one.cpu_ms:.1f} ms + {CHILDREN * one.database_ms:.1f} ms",
            f"{dearer:.2f}×",
            f"≤ {TARGET}×",
            dearer <= TARGET,
            LABELS[kind],
        ),
    ]


async def _cancels(lab: Lab, way: Way) -> Row:
    """From the request to cancel a root to the closing of each socket below it."""
    seconds: list[float] = []
    async with asyncio.timeout(BOUND):
        for number in range(lab.scale.tree_cancels):
            text = f"Tree {way.state.kind} {number}"
            leaves = {f"{text}.{index}.0" for index in range(CHILDREN)}
            made = (await ask_once(way.here, execute("fans", text, background=True))).json()["id"]
            await _counted(lab, "silent", leaves)
            requested = time.monotonic()
            (await ask_once(way.here, cancel(made))).json()
            cuts = await _counted(lab, "cuts", leaves)
            seconds += [cuts[leaf] - requested for leaf in leaves]
    most = CANCEL_SECONDS[way.state.kind]
    slow = sorted(seconds)[int(len(seconds) * 0.95)]
    return Row(
        "cancel of a root to the sockets of 10 grandchildren closed, median (95th percentile)",
        f"{median(seconds) * 1000:.0f} ms ({slow * 1000:.0f} ms)",
        target=f"≤ {most * 1000:.0f} ms",
        met=slow <= most,
        database=way.state.label,
    )


async def _counted(lab: Lab, name: str, texts: set[str]) -> dict[str, float]:
    """What the provider says of its answers to these, once it has something of each."""
    while True:
        found = (await ask_once(lab.controlled.port, get("/counts"))).json()[name]
        if texts <= set(found):
            return dict.fromkeys(found, 0.0) if isinstance(found, list) else found
        await asyncio.sleep(LOOK_SECONDS)


async def _nestings(lab: Lab, kind: str) -> Row:
    """The record of a root with 10 children of 100 children each."""
    state = lab.states.empty(kind, "nestings")
    async with lab.ours(state, concurrency=32, provider_url=lab.controlled_url) as child:
        made = (await ask_once(child.port, execute("thousand", "Go", background=True))).json()["id"]
        async with asyncio.timeout(BOUND):
            await ask_once(child.port, follow(made))
        ended = await fetch(child, f"/v1/executions/{made}")
        if ended["status"] != "completed":
            raise RuntimeError(f"The root is {ended['status']}.")
        before, times, size = child.memory(), [], 0
        for _ in range(lab.scale.rounds + 1):
            began = time.perf_counter()
            path = f"/api/v1/executions/nestings?executionId={made}"
            answer = await ask_once(child.port, get(path, KEY))
            times.append(time.perf_counter() - began)
            size = len(answer.body)
        grown = max(0, child.memory() - before)
    lab.states.drop(state)
    return Row(
        "nestings of 1,010 executions below one, median",
        f"{median(times[1:]) * 1000:.0f} ms",
        f"{size / MIB:.1f} MiB; memory +{grown / MIB:.0f} MiB",
        database=LABELS[kind],
    )
