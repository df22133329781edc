"""`python -m bench.against FOLDER [--rounds N] [--database KIND]`: this checkout beside another.

FOLDER is a checkout of another revision with its own `.venv` (`git worktree add FOLDER REVISION`,
`make -C FOLDER install`). Both servers run at the same time and get requests in turns, so that a
machine that slows down slows both. A row shows the medians, and the median of the ratios of each
pair of rounds with its range: above 1× this checkout costs more than the other one. On Postgres
they have a database each on one server, whose processor time and statements are figures too.
"""

import argparse
import asyncio
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.statement_log import StatementLog, transactions

from bench.client import Connection
from bench.figures.runs import uses_tool
from bench.lab import OUTLAST, Lab, open_lab
from bench.load import Rate, first_token, run_many, stream_many
from bench.process import Child, allow_many_files
from bench.requests import TOKEN, execute, is_completed
from bench.scale import Scale
from bench.state import KINDS, LABELS, POSTGRESQL, SQLITE, State
from bench.table import Row, markdown, median

WORSE: Final = 1.05
"""What a change may cost."""
RUNS: Final = 400
TOKENS: Final = 60
STREAMS: Final = 250
MANY_STREAMS: Final = 500
"""On Postgres, whose target is at this number."""
COUNTED: Final = 9
"""Runs whose statements are counted one by one: a heartbeat may fall into some."""
QUIET_SECONDS: Final = 0.05
"""What a run does behind its answer is over then."""
BOUND: Final = 120.0

Figures = dict[str, float]
"""By what they are, in the unit that is written: the more, the worse."""


@dataclass(frozen=True, slots=True)
class Under:
    """A server under test, and where it keeps its state."""

    child: Child
    state: State


Measure = Callable[[Lab, Under], Awaitable[Figures]]


@dataclass(frozen=True, slots=True)
class Pair:
    """This checkout's server and the other's."""

    ours: Under
    theirs: Under


async def _runs(lab: Lab, under: Under, agent: str, name: str, concurrency: int) -> Figures:
    check = uses_tool if agent == "tool" else is_completed
    runs = RUNS if concurrency > 1 else RUNS // 4
    rate: Rate = await run_many(
        under.child,
        execute(agent),
        check,
        runs=runs,
        concurrency=concurrency,
        bound=BOUND,
        database=lab.database_cpu(under.state.kind),
    )
    figures = {
        f"CPU per run, {name}, ms": rate.cpu_ms,
        f"time per run, {name}, ms": 1000 / rate.per_second,
    }
    if rate.database_ms:
        figures[f"CPU per run of the database, {name}, ms"] = rate.database_ms
    return figures


async def _one(lab: Lab, under: Under) -> Figures:
    return await _runs(lab, under, "answer", "one model call, concurrency 1", 1)


async def _sixteen(lab: Lab, under: Under) -> Figures:
    return await _runs(lab, under, "answer", "one model call, concurrency 16", 16)


async def _many(lab: Lab, under: Under) -> Figures:
    return await _runs(lab, under, "answer", "one model call, concurrency 64", 64)


async def _tool(lab: Lab, under: Under) -> Figures:
    return await _runs(lab, under, "tool", "one tool call, concurrency 16", 16)


async def _first(_: Lab, under: Under) -> Figures:
    connection = await Connection.open(under.child.port)
    request = execute("first", stream=True)
    times = [await first_token(connection, request, TOKEN) for _ in range(TOKENS)]
    connection.close()
    return {"first token, median, ms": median(times) * 1000}


async def _streams(lab: Lab, under: Under) -> Figures:
    streams = STREAMS if under.state.kind == SQLITE else MANY_STREAMS
    burst = await stream_many(
        under.child,
        execute("slow", stream=True),
        TOKEN,
        streams=streams,
        words=lab.scale.words,
        bound=BOUND,
    )
    return {
        f"{streams} streams, CPU of each, ms": burst.cpu_seconds / burst.served * 1000,
        f"{streams} streams, all of them, s": burst.seconds,
    }


async def _statements(lab: Lab, under: Under) -> Figures:
    """Of one run, by Postgres' own log; SQLite has none."""
    if lab.postgres is None or lab.postgres.log is None or under.state.kind == SQLITE:
        return {}
    connection = await Connection.open(under.child.port)
    counts: list[tuple[int, int, int]] = []
    with lab.postgres.logged():
        log = StatementLog(lab.postgres.log, under.state.url)
        for _ in range(COUNTED):
            log.new()
            await connection.ask(execute("answer"))
            await asyncio.sleep(QUIET_SECONDS)
            ran = log.new()
            control = sum(one.control is not None for one in ran)
            counts.append((len(ran) - control, control, transactions(ran)))
    connection.close()
    statements, control, commits = min(counts)
    return {
        "statements of a run": float(statements),
        "BEGIN, COMMIT, SET of a run": float(control),
        "transactions of a run": float(commits),
    }


MEASURES: Final[tuple[Measure, ...]] = (
    _one,
    _sixteen,
    _many,
    _tool,
    _first,
    _streams,
    _statements,
)


async def compare(lab: Lab, other: Path, rounds: int) -> list[Row]:
    """The rows of every figure on each database; a round before the first warms both up."""
    rows: list[Row] = []
    for kind in lab.kinds:
        async with AsyncExitStack() as stack:
            pair = Pair(
                await _under(lab, kind, "ours", OUTLAST, stack),
                await _under(lab, kind, "theirs", other, stack),
            )
            for measure in MEASURES:
                await _round(lab, pair, measure, swapped=False)
                found = [
                    await _round(lab, pair, measure, swapped=bool(n % 2)) for n in range(rounds)
                ]
                for name in found[0][0]:
                    rows.append(_row(name, found, kind))
                    print(rows[-1].figure, rows[-1].ratio, file=sys.stderr, flush=True)
    return rows


async def _under(lab: Lab, kind: str, name: str, outlast: Path, stack: AsyncExitStack) -> Under:
    state = lab.states.empty(kind, name)
    places = 2 * MANY_STREAMS if kind == POSTGRESQL else 0
    child = await stack.enter_async_context(lab.ours(state, concurrency=places, outlast=outlast))
    return Under(child, state)


async def _round(
    lab: Lab, pair: Pair, measure: Measure, *, swapped: bool
) -> tuple[Figures, Figures]:
    """Both, the other one first where swapped: (ours, theirs)."""
    if swapped:
        theirs = await measure(lab, pair.theirs)
        return await measure(lab, pair.ours), theirs
    return await measure(lab, pair.ours), await measure(lab, pair.theirs)


def _row(name: str, found: list[tuple[Figures, Figures]], kind: str = SQLITE) -> Row:
    ours = median([one[name] for one, _ in found])
    theirs = median([other[name] for _, other in found])
    ratios = [one[name] / other[name] for one, other in found if other[name]]
    if not ratios:
        return Row(name, f"{ours:.2f}", f"the other {theirs:.2f}", database=LABELS[kind])
    ratio = median(ratios)
    return Row(
        name,
        f"{ours:.2f}",
        f"the other {theirs:.2f}",
        f"{ratio:.3f}× ({min(ratios):.2f}–{max(ratios):.2f})",
        f"≤ {WORSE}×",
        ratio <= WORSE,
        LABELS[kind],
    )


async def take(
    other: Path,
    rounds: int,
    room: Path,
    scale: Scale | None = None,
    kinds: Sequence[str] = (SQLITE,),
) -> list[Row]:
    """The rows, in a lab of their own; `other` is the other checkout's `outlast`."""
    async with open_lab(room, scale or Scale(), kinds) as lab:
        return await compare(lab, other, rounds)


def main() -> int:
    """Read the arguments, compare, print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.against", description=__doc__)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="another checkout, installed")
    parser.add_argument("--rounds", type=int, default=9, help="pairs of each figure")
    parser.add_argument("--database", choices=(*KINDS, "both"), default=SQLITE)
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
            kinds = KINDS if options.database == "both" else (options.database,)
            rows = runner.run(take(other, options.rounds, Path(room), kinds=kinds))
    print(markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
