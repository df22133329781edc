"""`python -m bench [NAME…] [--database KIND] [--quick]`: take the figures and print their table.

The exit status is 1 where a figure could not be taken; a missed target alone is no failure.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from bench.figures import (
    across,
    at_rest,
    budget,
    console,
    console_live,
    crash,
    due,
    first_token,
    lists,
    mcp,
    memory,
    memory_search,
    purge,
    runs,
    start,
    steps,
    stored,
    streams,
    suspended,
    takeover,
    trees,
    workers,
)
from bench.lab import Lab, open_lab
from bench.process import allow_many_files
from bench.scale import QUICK, Scale
from bench.state import KINDS
from bench.table import Row, failed, markdown

FIGURES: Final[dict[str, Callable[[Lab], Awaitable[list[Row]]]]] = {
    # First, while the bare endpoint has grown by nothing else.
    "streams": streams.measure,
    "many-streams": streams.measure_many,
    "first-token": first_token.measure,
    "runs": runs.measure,
    "budget": budget.measure,
    "crash": crash.measure,
    "lists": lists.measure,
    "purge": purge.measure,
    "due": due.measure,
    "memory": memory.measure,
    "mcp": mcp.measure,
    "memory-search": memory_search.measure,
    "start": start.measure,
    "suspended": suspended.measure,
    "stored": stored.measure,
    "steps": steps.measure,
    "workers": workers.measure,
    "at-rest": at_rest.measure,
    "across": across.measure,
    "takeover": takeover.measure,
    "trees": trees.measure,
    "console": console.measure,
    "console-live": console_live.measure,
}
SAME: Final = {"many-streams", "purge", "memory-search", "console", "console-live"}
"""Left out of a quick run: another number for code that runs anyway, a wait of a minute, a
download, and pages in front of many rows that a browser opens."""
BOUND = 600.0
"""Seconds that one figure may take, for each million of executions behind the console's list."""


async def take(names: list[str], scale: Scale, room: Path, kinds: Sequence[str]) -> list[Row]:
    """The rows of these figures, in one lab; one that fails gives a row that says so."""
    rows: list[Row] = []
    async with open_lab(room, scale, kinds) as lab:
        for name in names:
            begun = time.perf_counter()
            try:
                async with asyncio.timeout(BOUND * max(1.0, scale.console_rows / 1_000_000)):
                    rows += await FIGURES[name](lab)
            except Exception as error:
                rows.append(failed(name, _first(error)))
            print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)
    return rows


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def main() -> int:
    """Read the arguments, take the figures, print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FIGURES))
    parser.add_argument("--database", choices=(*KINDS, "both"), default="both")
    parser.add_argument("--quick", action="store_true", help="a smoke run; its figures say nothing")
    parser.add_argument("--rows", type=int, help="executions behind the console's list")
    parser.add_argument("--dir", type=Path, help="where the databases live; a disk, not memory")
    options = parser.parse_args()
    if unknown := set(options.names) - set(FIGURES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    import uvloop

    allow_many_files()
    # Children are stopped in `finally` blocks, so a SIGTERM must come as an exception.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with tempfile.TemporaryDirectory(prefix="outlast-bench-", dir=options.dir) as room:
        scale = QUICK if options.quick else Scale()
        scale = replace(scale, console_rows=options.rows or scale.console_rows)
        kinds = KINDS if options.database == "both" else (options.database,)
        every = [name for name in FIGURES if not (options.quick and name in SAME)]
        names = list(dict.fromkeys(options.names)) or every
        with contextlib.suppress(KeyboardInterrupt):
            rows = uvloop.run(take(names, scale, Path(room), kinds))
            print(markdown(rows))
            return int(any(row.ours.startswith("failed:") for row in rows))
    return 130


if __name__ == "__main__":
    sys.exit(main())
