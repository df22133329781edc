"""Bytes that a finished run leaves in the database, indexes included.

On SQLite they are pages in use, those still in the write-ahead log included. On Postgres they are
tables and indexes behind a VACUUM FULL: each change of a row leaves its old version, which only a
vacuum makes room of; the size before it stands beside.
"""

from bench.lab import Lab
from bench.load import run_many
from bench.process import Child
from bench.requests import execute, is_completed
from bench.state import SQLITE, State
from bench.table import Row

WARM_UP = 16
BOUND = 120.0


async def measure(lab: Lab) -> list[Row]:
    """Runs of one model call, and runs with one tool call between two."""
    rows = []
    for kind in lab.kinds:
        state = lab.states.empty(kind, "stored")
        async with lab.ours(state) as child:
            for agent, words in (
                ("answer", "one model call"),
                ("tool", "one tool call between two"),
            ):
                rows.append(await _row(lab, state, child, agent, words))
        lab.states.drop(state)
    return rows


async def _row(lab: Lab, state: State, child: Child, agent: str, words: str) -> Row:
    runs = lab.scale.stored
    await _run(child, agent, WARM_UP)
    before = state.cleaned()
    await _run(child, agent, runs)
    full = state.used()
    size = state.cleaned()
    beside = "–" if state.kind == SQLITE else f"before a vacuum {_kib(full - before, runs)}"
    name = f"stored per run, {words} (12 words)"
    return Row(name, _kib(size - before, runs), beside, database=state.label)


def _kib(size: int, runs: int) -> str:
    return f"{size / runs / 1024:.1f} KiB"


async def _run(child: Child, agent: str, runs: int) -> None:
    request = execute(agent)
    await run_many(child, request, is_completed, runs=runs, concurrency=16, bound=BOUND)
