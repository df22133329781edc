"""Bytes that a finished run leaves in the database, indexes included."""

import sqlite3
from pathlib import Path

from bench.lab import Lab, database, execute, is_completed
from bench.load import run_many
from bench.table import Row

BOUND = 120.0


async def measure(lab: Lab) -> list[Row]:
    """Runs of one model call, and runs with one tool call between two."""
    rows = []
    for agent, words in (("answer", "one model call"), ("tool", "one tool call, two model calls")):
        data = lab.data("stored")
        await _run(lab, data, agent, 16)
        before = _used(database(data))
        await _run(lab, data, agent, lab.scale.stored)
        size = (_used(database(data)) - before) / lab.scale.stored
        lab.drop(data)
        rows.append(Row(f"stored per run, {words} (12 words)", f"{size / 1024:.1f} KiB"))
    return rows


async def _run(lab: Lab, data: Path, agent: str, runs: int) -> None:
    async with lab.ours(data) as child:
        request = execute(agent)
        await run_many(child, request, is_completed, runs=runs, concurrency=16, bound=BOUND)


def _used(path: Path) -> int:
    """Bytes of the pages in use; the write-ahead log is folded in first."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages, size, free = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "page_size", "freelist_count")
        )
    connection.close()
    return int((pages - free) * size)
