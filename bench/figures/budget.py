"""What a budget of the workspace costs that 64 runs spend from at once.

Rounds with and without the budget alternate on one server, whose key learns of a change at once.
"""

from bench.client import ask_once, post
from bench.lab import Lab
from bench.load import Rate, middle, run_many
from bench.process import Child
from bench.requests import KEY, execute, is_completed
from bench.state import LABELS
from bench.table import Row, with_database

CONCURRENCY = 64
TARGET = 0.7
BOUND = 120.0
_PATH = "/v1/budgets/workspace"
_BOUNDS = {"maxTokens": 10**12, "maxCredits": 10**9, "maxSteps": 10**12}


async def measure(lab: Lab) -> list[Row]:
    """Runs per second of one model call, beside the same without the budget."""
    rows: list[Row] = []
    for kind in lab.kinds:
        state = lab.states.empty(kind, "budget")
        async with lab.ours(state) as child:
            rates: dict[bool, list[Rate]] = {False: [], True: []}
            for round_ in range(lab.scale.rounds + 1):
                for budgeted, found in rates.items():
                    await _set(child, _BOUNDS if budgeted else None)
                    rate = await run_many(
                        child,
                        execute("answer"),
                        is_completed,
                        runs=lab.scale.runs,
                        concurrency=CONCURRENCY,
                        bound=BOUND,
                        database=lab.database_cpu(kind),
                    )
                    if round_:  # round 0 warms up
                        found.append(rate)
        lab.states.drop(state)
        rows.append(_row(kind, middle(rates[True]), middle(rates[False])))
    return rows


async def _set(child: Child, bounds: dict[str, int] | None) -> None:
    request = post(_PATH, bounds, KEY).replace(b"POST", b"PUT", 1)
    answer = await ask_once(child.port, request)
    if answer.status not in (200, 204):
        raise RuntimeError(f"HTTP {answer.status}: {answer.body[:300]!r}")


def _row(kind: str, under: Rate, without: Rate) -> Row:
    ratio = under.per_second / without.per_second
    cpu, beside = (
        with_database(f"{rate.cpu_ms:.1f} ms", rate.database_ms, "ms") for rate in (under, without)
    )
    return Row(
        f"runs/s, one model call, concurrency {CONCURRENCY}, under one budget of the workspace",
        f"{under.per_second:.0f} ({cpu} CPU)",
        f"without {without.per_second:.0f} ({beside} CPU)",
        f"{ratio:.2f}×",
        f"≥ {TARGET:.1f}×",
        ratio >= TARGET,
        LABELS[kind],
    )
