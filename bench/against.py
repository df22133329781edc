"""`python -m bench.against FOLDER [--rounds N]`: this checkout beside another one, on SQLite.

FOLDER is a checkout of another revision with its own `.venv` (`git worktree add FOLDER REVISION`,
`make -C FOLDER install`). Both servers run at the same time and are asked in turns, so that a
machine that slows down slows both. A row shows the medians, and the median of the ratios of each
pair of rounds with its range: above 1× this checkout costs more than the other one.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.asking import TOKEN, execute, is_completed
from bench.client import Connection
from bench.figures.runs import uses_tool
from bench.lab import OUTLAST, Lab, open_lab
from bench.load import Rate, first_token, run_many, stream_many
from bench.process import Child, allow_many_files
from bench.scale import Scale
from bench.state import SQLITE
from bench.table import Row, markdown, median

WORSE: Final = 1.05
"""What a change may cost."""
RUNS: Final = 400
TOKENS: Final = 60
STREAMS: Final = 250
BOUND: Final = 120.0

Figures = dict[str, float]
"""By what they are, in the unit that is written: the more, the worse."""
Measure = Callable[[Lab, Child], Awaitable[Figures]]


@dataclass(frozen=True, slots=True)
class Pair:
    """This checkout's server and the other's."""

    ours: Child
    theirs: Child


async def _runs(child: Child, agent: str, name: str, concurrency: int) -> Figures:
    check = uses_tool if agent == "tool" else is_completed
    runs = RUNS if concurrency > 1 else RUNS // 4
    rate: Rate = await run_many(
        child, execute(agent), check, runs=runs, concurrency=concurrency, bound=BOUND
    )
    return {
        f"CPU per run, {name}, ms": rate.cpu_ms,
        f"time per run, {name}, ms": 1000 / rate.per_second,
    }


async def _one(_: Lab, child: Child) -> Figures:
    return await _runs(child, "answer", "one model call, concurrency 1", 1)


async def _sixteen(_: Lab, child: Child) -> Figures:
    return await _runs(child, "answer", "one model call, concurrency 16", 16)


async def _many(_: Lab, child: Child) -> Figures:
    return await _runs(child, "answer", "one model call, concurrency 64", 64)


async def _tool(_: Lab, child: Child) -> Figures:
    return await _runs(child, "tool", "one tool call, concurrency 16", 16)


async def _first(_: Lab, child: Child) -> Figures:
    connection = await Connection.open(child.port)
    request = execute("first", stream=True)
    times = [await first_token(connection, request, TOKEN) for _ in range(TOKENS)]
    connection.close()
    return {"first token, median, ms": median(times) * 1000}


async def _streams(lab: Lab, child: Child) -> Figures:
    burst = await stream_many(
        child,
        execute("slow", stream=True),
        TOKEN,
        streams=STREAMS,
        words=lab.scale.words,
        bound=BOUND,
    )
    return {
        f"{STREAMS} streams, CPU of each, ms": burst.cpu_seconds / burst.served * 1000,
        f"{STREAMS} streams, all of them, s": burst.seconds,
    }


MEASURES: Final[tuple[Measure, ...]] = (_one, _sixteen, _many, _tool, _first, _streams)


async def compare(lab: Lab, other: Path, rounds: int) -> list[Row]:
    """The rows of every figure; a round before the first warms both up."""
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        pair = Pair(
            await stack.enter_async_context(lab.ours(lab.states.empty(SQLITE, "ours"))),
            await stack.enter_async_context(
                lab.ours(lab.states.empty(SQLITE, "theirs"), outlast=other)
            ),
        )
        for measure in MEASURES:
            await _round(lab, pair, measure, swapped=False)
            found = [await _round(lab, pair, measure, swapped=bool(n % 2)) for n in range(rounds)]
            rows += [_row(name, found) for name in found[0][0]]
            print(rows[-1].figure, file=sys.stderr, flush=True)
    return rows


async def _round(
    lab: Lab, pair: Pair, measure: Measure, *, swapped: bool
) -> tuple[Figures, Figures]:
    """Both, the other one first where swapped: (ours, theirs)."""
    if swapped:
        theirs = await measure(lab, pair.theirs)
        return await measure(lab, pair.ours), theirs
    return await measure(lab, pair.ours), await measure(lab, pair.theirs)


def _row(name: str, found: list[tuple[Figures, Figures]]) -> Row:
    ours = median([one[name] for one, _ in found])
    theirs = median([other[name] for _, other in found])
    ratios = [one[name] / other[name] for one, other in found if other[name]]
    if not ratios:
        return Row(name, f"{ours:.2f}", f"the other {theirs:.2f}", database="SQLite")
    ratio = median(ratios)
    return Row(
        name,
        f"{ours:.2f}",
        f"the other {theirs:.2f}",
        f"{ratio:.3f}× ({min(ratios):.2f}–{max(ratios):.2f})",
        f"≤ {WORSE}×",
        ratio <= WORSE,
        "SQLite",
    )


async def take(other: Path, rounds: int, room: Path, scale: Scale | None = None) -> list[Row]:
    """The rows, in a lab of their own; `other` is the other checkout's `outlast`."""
    async with open_lab(room, scale or Scale(), (SQLITE,)) as lab:
        return await compare(lab, other, rounds)


def main() -> int:
    """Read the arguments, compare, print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.against", description=__doc__)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="another checkout, installed")
    parser.add_argument("--rounds", type=int, default=9, help="pairs of each figure")
    parser.add_argument("--dir", type=Path, help="where the databases live; a disk, not memory")
    options = parser.parse_args()
    other = options.folder.resolve() / ".venv" / "bin" / OUTLAST.name
    if not other.exists():
        parser.error(f"{other} is not there: make -C {options.folder} install")
    if options.rounds < 1:
        parser.error("at least one round")
    import uvloop

    allow_many_files()
    # Children are stopped in `finally` blocks, so a SIGTERM must come as an exception.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with tempfile.TemporaryDirectory(prefix="outlast-bench-", dir=options.dir) as room:
        runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        with runner:
            rows = runner.run(take(other, options.rounds, Path(room)))
    print(markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
