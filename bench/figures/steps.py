"""Bytes that each step of a long execution leaves: what a checkpoint behind every step costs.

A checkpoint refers to the log and copies no history, so a step of an execution of a thousand steps
costs no more than one of ten. Half of the steps are model requests, half are tool calls. The
execution's own row, its conversation and its last answer are divided among its steps too.
"""

from bench.lab import Lab
from bench.load import run_many
from bench.requests import execute, is_completed
from bench.state import State
from bench.table import Row

TARGET = 1.1
BOUND = 300.0


async def measure(lab: Lab) -> list[Row]:
    """On each database."""
    return [row for kind in lab.kinds for row in await _measure(lab, kind)]


async def _measure(lab: Lab, kind: str) -> list[Row]:
    """Executions of few steps and of many, the same number of steps in all."""
    few, many = lab.scale.few_steps, lab.scale.many_steps
    short = await _bytes_per_step(lab, kind, "short", few, runs=max(1, 2 * many // few))
    long = await _bytes_per_step(lab, kind, "long", many, runs=2)
    label, ratio = State(kind, lab.room).label, long / short
    return [
        Row(f"stored per step, execution of {few} steps", f"{short:.0f} B", database=label),
        Row(
            f"stored per step, execution of {many:,} steps",
            f"{long:.0f} B",
            f"of {few} steps: {short:.0f} B",
            f"{ratio:.2f}×",
            f"≤ {TARGET}×",
            ratio <= TARGET,
            label,
        ),
    ]


async def _bytes_per_step(lab: Lab, kind: str, agent: str, steps: int, *, runs: int) -> float:
    """What the executions have added to a database that has been used before."""
    state = lab.states.empty(kind, f"steps-{agent}")
    async with lab.ours(state, provider_url=lab.controlled_url) as child:
        request = execute(agent)
        await run_many(child, request, is_completed, runs=1, concurrency=1, bound=BOUND)
        before = state.cleaned()
        await run_many(child, request, is_completed, runs=runs, concurrency=2, bound=BOUND)
        size = state.cleaned()
    [(recorded,)] = state.rows("SELECT count(*) FROM steps")
    lab.states.drop(state)
    if recorded != steps * (runs + 1):
        raise RuntimeError(f"{recorded} steps are recorded, not {steps * (runs + 1)}.")
    return (size - before) / (runs * steps)
