"""Runs per second and processor time per run: one model call, and two with a tool call between.

Rounds of ours on each database and of the bare endpoint alternate; the median of each is taken.
Ours streams from the provider and stores everything; the bare one asks for the whole answer and
stores nothing.
"""

import asyncio
import json
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack

from bench.client import Answer
from bench.lab import Lab
from bench.load import Cpu, Rate, Served, middle, run_many
from bench.process import ROOT
from bench.requests import ask_bare, ask_provider, execute, is_completed, is_ok
from bench.state import LABELS, SQLITE
from bench.table import Row, unpromised, with_database

CONCURRENCIES = (1, 16, 64)
TARGET = 2.0
BOUND = 120.0

Ask = tuple[Served, bytes, Callable[[Answer], bool], Cpu]


async def measure(lab: Lab) -> list[Row]:
    """One model call at each concurrency, beside bare endpoint and bare commits; then one tool."""
    states = {kind: lab.states.empty(kind, "runs") for kind in lab.kinds}
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        servers: dict[str, Served] = {"bare": await lab.bare()}
        for kind, state in states.items():
            servers[kind] = await stack.enter_async_context(lab.ours(state))
        for concurrency in CONCURRENCIES:
            name = f"one model call, concurrency {concurrency}"
            asks = _asks(lab, servers, "answer", "/execute/words-12", is_completed)
            rates = await _alternate(lab, asks, concurrency)
            for kind in lab.kinds:
                rows += _rows(name, kind, rates[kind], rates["bare"], target=concurrency == 16)
                rows.append(await _beside_commits(lab, name, kind, rates[kind], concurrency))
        rows.append(await _direct(lab))
        asks = _asks(lab, servers, "tool", "/execute/tool?tool=1", uses_tool)
        rates = await _alternate(lab, asks, 16)
        for kind in lab.kinds:
            name = "one tool call, concurrency 16"
            rows += _rows(name, kind, rates[kind], rates["bare"], target=True)
    lab.states.drop(*states.values())
    return rows


def uses_tool(answer: Answer) -> bool:
    """Whether Outlast's execution ended well and shows its tool's result."""
    return is_completed(answer) and b"Example Post" in answer.body


def _asks(
    lab: Lab,
    servers: dict[str, Served],
    agent: str,
    path: str,
    check: Callable[[Answer], bool],
) -> dict[str, Ask]:
    ours: dict[str, Ask] = {
        kind: (servers[kind], execute(agent), check, lab.database_cpu(kind)) for kind in lab.kinds
    }
    return ours | {"bare": (servers["bare"], ask_bare(path), is_ok, float)}


async def _alternate(lab: Lab, asks: dict[str, Ask], concurrency: int) -> dict[str, Rate]:
    runs = lab.scale.runs if concurrency > 1 else max(10, lab.scale.runs // 3)
    rates: dict[str, list[Rate]] = {name: [] for name in asks}
    for round_ in range(lab.scale.rounds + 1):
        for name, (child, request, good, database) in asks.items():
            rate = await run_many(
                child,
                request,
                good,
                runs=runs if round_ else max(10, runs // 4),
                concurrency=concurrency,
                bound=BOUND,
                database=database,
            )
            if round_:  # round 0 warms up
                rates[name].append(rate)
    return {name: middle(found) for name, found in rates.items()}


def _rows(name: str, kind: str, ours: Rate, bare: Rate, *, target: bool) -> list[Row]:
    ratio = ours.per_second / bare.per_second
    row = Row(
        f"runs/s, {name}",
        f"{ours.per_second:.0f}",
        f"bare {bare.per_second:.0f}",
        f"{ratio:.2f}×",
        f"≥ {TARGET:.0f}×",
        ratio >= TARGET,
        LABELS[kind],
    )
    return [
        row if target and kind == SQLITE else unpromised(row),
        Row(
            f"CPU per run, {name}",
            with_database(f"{ours.cpu_ms:.1f} ms", ours.database_ms, "ms"),
            f"bare {bare.cpu_ms:.1f} ms",
            f"{ours.cpu_ms / bare.cpu_ms:.2f}×",
            database=LABELS[kind],
        ),
    ]


async def _beside_commits(lab: Lab, name: str, kind: str, ours: Rate, concurrency: int) -> Row:
    rate = middle([await commits(lab, kind, concurrency) for _ in range(lab.scale.rounds)])
    cpu = with_database(f"{rate.cpu_ms:.2f} ms", rate.database_ms, "ms")
    return Row(
        f"runs/s, {name}, of bare commits",
        f"{ours.per_second:.0f}",
        f"commits {rate.per_second:.0f} ({cpu} CPU)",
        f"{ours.per_second / rate.per_second:.2f}×",
        database=LABELS[kind],
    )


async def commits(lab: Lab, kind: str, concurrency: int) -> Rate:
    """Baseline (c), in a process of its own."""
    state, database = lab.states.empty(kind, "commits"), lab.database_cpu(kind)
    runs = lab.scale.runs * 5 if concurrency > 1 else lab.scale.runs
    arguments = ["--runs", str(runs), "--concurrency", str(concurrency)]
    before = database()
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.commits",
        state.url or str(state.file),
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(BOUND):
            output, _ = await child.communicate()
    except TimeoutError:
        child.kill()
        raise
    beside = (database() - before) * 1000 / runs
    lab.states.drop(state)
    found = json.loads(output)
    return Rate(found["runs_per_second"], found["cpu_ms"], beside)


async def _direct(lab: Lab) -> Row:
    request = ask_provider("words-12")
    runs = lab.scale.runs * 5
    rate = await run_many(lab.provider, request, is_ok, runs=runs, concurrency=16, bound=BOUND)
    return Row(
        "calls/s, provider called directly, concurrency 16",
        "–",
        f"direct {rate.per_second:.0f} ({rate.cpu_ms:.2f} ms CPU)",
    )
