"""Bytes that a finished run leaves in the database, indexes included."""

import sqlite3
from contextlib import closing
from pathlib import Path

from bench.lab import Lab, database, execute, is_completed
from bench.load import run_many
from bench.process import Child
from bench.table import Row

WARM_UP = 16
BOUND = 120.0


async def measure(lab: Lab) -> list[Row]:
    """Runs of one model call, and runs with one tool call between two."""
    rows = []
    data = lab.data("stored")
    async with lab.ours(data) as child:
        for agent, words in (("answer", "one model call"), ("tool", "one tool call between two")):
            await _run(child, agent, WARM_UP)
            before = _used(database(data))
            await _run(child, agent, lab.scale.stored)
            size = (_used(database(data)) - before) / lab.scale.stored
            rows.append(Row(f"stored per run, {words} (12 words)", f"{size / 1024:.1f} KiB"))
    lab.drop(data)
    return rows


async def _run(child: Child, agent: str, runs: int) -> None:
    request = execute(agent)
    await run_many(child, request, is_completed, runs=runs, concurrency=16, bound=BOUND)


def _used(path: Path) -> int:
    """Bytes of the pages in use, those still in the write-ahead log included."""
    with closing(sqlite3.connect(path)) as connection:
        pages, size, free = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "page_size", "freelist_count")
        )
    return int((pages - free) * size)
