"""Bytes that a finished run leaves in the database, indexes included.

On SQLite they are pages in use, those still in the write-ahead log included. On Postgres they are
tables and indexes behind a VACUUM FULL: each change of a row leaves its old version, which only a
vacuum makes room of; the size before it stands beside.
"""

from bench.asking import execute, is_completed
from bench.lab import Lab
from bench.load import run_many
from bench.process import Child
from bench.state import SQLITE, State
from bench.table import Row

WARM_UP = 16
BOUND = 120.0
_SIZE = """
SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


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
    before = _cleaned(state)
    await _run(child, agent, runs)
    full = _used(state)
    size = _cleaned(state)
    beside = "–" if state.kind == SQLITE else f"before a vacuum {_kib(full - before, runs)}"
    name = f"stored per run, {words} (12 words)"
    return Row(name, _kib(size - before, runs), beside, database=state.label)


def _kib(size: int, runs: int) -> str:
    return f"{size / runs / 1024:.1f} KiB"


async def _run(child: Child, agent: str, runs: int) -> None:
    request = execute(agent)
    await run_many(child, request, is_completed, runs=runs, concurrency=16, bound=BOUND)


def _cleaned(state: State) -> int:
    """Bytes without what nobody can read any more."""
    if state.kind != SQLITE:
        state.rows("VACUUM FULL")
    return _used(state)


def _used(state: State) -> int:
    """Bytes of the pages in use."""
    if state.kind != SQLITE:
        return int(state.rows(_SIZE)[0][0])
    pages, size, free = (
        state.rows(f"PRAGMA {name}")[0][0] for name in ("page_count", "page_size", "freelist_count")
    )
    return int((pages - free) * size)
