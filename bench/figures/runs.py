"""Runs per second and processor time per run: one model call, and two with a tool call between.

Rounds of ours and of the bare endpoint alternate; the median of each is taken. Ours streams from
the provider and stores everything; the bare one asks for the whole answer and stores nothing.
"""

import asyncio
import json
import sys
from collections.abc import Callable

from bench.client import Answer
from bench.lab import Lab, ask_bare, ask_provider, execute, is_completed, is_ok
from bench.load import Rate, run_many
from bench.process import ROOT, Child
from bench.table import Row, median

CONCURRENCIES = (1, 16, 64)
TARGET = 2.0
BOUND = 120.0


async def measure(lab: Lab) -> list[Row]:
    """One model call at each concurrency, beside bare endpoint and bare commits; then one tool."""
    data = lab.data("runs")
    rows: list[Row] = []
    bare = await lab.bare()
    async with lab.ours(data) as ours:
        for concurrency in CONCURRENCIES:
            rates = await _compare(lab, ours, bare, concurrency, "answer", "/execute/words-12")
            name = f"one model call, concurrency {concurrency}"
            rows += _rows(name, *rates, target=concurrency == 16)
            rows.append(await _beside_commits(lab, name, rates[0], concurrency))
        rows.append(await _direct(lab))
        rates = await _compare(lab, ours, bare, 16, "tool", "/execute/tool?tool=1", uses_tool)
        rows += _rows("one tool call, concurrency 16", *rates, target=True)
    lab.drop(data)
    return rows


def uses_tool(answer: Answer) -> bool:
    """Whether Outlast's execution ended well and shows its tool's result."""
    return is_completed(answer) and b"Example Post" in answer.body


async def _compare(
    lab: Lab,
    ours: Child,
    bare: Child,
    concurrency: int,
    agent: str,
    path: str,
    check: Callable[[Answer], bool] = is_completed,
) -> tuple[Rate, Rate]:
    runs = lab.scale.runs if concurrency > 1 else max(10, lab.scale.runs // 3)
    asks = ((ours, execute(agent), check), (bare, ask_bare(path), is_ok))
    rates: tuple[list[Rate], list[Rate]] = ([], [])
    for round_ in range(lab.scale.rounds + 1):
        for found, (child, request, good) in zip(rates, asks, strict=True):
            count = runs if round_ else max(10, runs // 4)
            rate = await run_many(
                child, request, good, runs=count, concurrency=concurrency, bound=BOUND
            )
            if round_:  # round 0 warms up
                found.append(rate)
    return _middle(rates[0]), _middle(rates[1])


def _middle(rates: list[Rate]) -> Rate:
    return Rate(median([r.per_second for r in rates]), median([r.cpu_ms for r in rates]))


def _rows(name: str, ours: Rate, bare: Rate, *, target: bool) -> list[Row]:
    ratio = ours.per_second / bare.per_second
    return [
        Row(
            f"runs/s, {name}",
            f"{ours.per_second:.0f}",
            f"bare {bare.per_second:.0f}",
            f"{ratio:.2f}×",
            f"≥ {TARGET:.0f}×" if target else "–",
            ratio >= TARGET if target else None,
        ),
        Row(
            f"CPU per run, {name}",
            f"{ours.cpu_ms:.1f} ms",
            f"bare {bare.cpu_ms:.1f} ms",
            f"{ours.cpu_ms / bare.cpu_ms:.2f}×",
        ),
    ]


async def _beside_commits(lab: Lab, name: str, ours: Rate, concurrency: int) -> Row:
    rate = _middle([await commits(lab, concurrency) for _ in range(lab.scale.rounds)])
    return Row(
        f"runs/s, {name}, of bare commits",
        f"{ours.per_second:.0f}",
        f"commits {rate.per_second:.0f} ({rate.cpu_ms:.2f} ms CPU)",
        f"{ours.per_second / rate.per_second:.2f}×",
    )


async def commits(lab: Lab, concurrency: int) -> Rate:
    """Baseline (c), in a process of its own."""
    folder = lab.data("commits")
    runs = str(lab.scale.runs * 5 if concurrency > 1 else lab.scale.runs)
    arguments = [str(folder / "log.db"), "--runs", runs, "--concurrency", str(concurrency)]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.commits", *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(BOUND):
            output, _ = await child.communicate()
    except TimeoutError:
        child.kill()
        raise
    lab.drop(folder)
    found = json.loads(output)
    return Rate(found["runs_per_second"], found["cpu_ms"])


async def _direct(lab: Lab) -> Row:
    request = ask_provider("words-12")
    runs = lab.scale.runs * 5
    rate = await run_many(lab.provider, request, is_ok, runs=runs, concurrency=16, bound=BOUND)
    return Row(
        "calls/s, provider called directly, concurrency 16",
        "–",
        f"direct {rate.per_second:.0f} ({rate.cpu_ms:.2f} ms CPU)",
    )
