"""The whole bench, at a scale that only shows that every figure can be taken."""

import asyncio
import re
import sys
from collections.abc import Sequence

import pytest
from bench.__main__ import FIGURES, main
from bench.process import ROOT
from bench.state import KINDS, LABELS, POSTGRESQL, SQLITE

from tests.bench.conftest import Bench
from tests.support.long_cases import WHOLE
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio

OFTEN = ("first-token", "runs", "crash", "steps")
"""Figures that each run of the tests takes on SQLite; `make hostile` takes all."""
ON_EACH = ("stored", "workers")
"""Those that it takes on both databases."""
ON_POSTGRES = ("workers", "across", "takeover")
"""What only many processes show; the other figures are the same code on both."""
OFTEN_ROWS = (
    r"first token over direct, median",
    r"first token over direct, p99",
    r"runs/s, one model call, concurrency \d+",
    r"runs/s, one model call, concurrency \d+, of bare commits",
    r"CPU per run, one model call, concurrency \d+",
    r"runs/s, one tool call, concurrency 16",
    r"\d+ runs killed after their first tool call, completed",
    r"\d+ runs killed, tool calls",
    r"\d+ runs killed, restart to the last completed",
    r"stored per step, execution of 10 steps",
    r"stored per step, execution of 40 steps",
)
STORED = (r"stored per run, one model call", r"stored per run, one tool call")
BOTH = (
    *OFTEN_ROWS,
    *STORED,
    r"\d+ streams, time over the ideal",
    r"\d+ streams, gap between tokens",
    r"\d+ streams, memory of each",
    r"\d+ streams, CPU of each",
    r"list, first page of 20, 1,000 executions",
    r"list, deep page of 20, 1,000 executions",
    r"search of 200 items, two words",
    r"start to ready, on an empty database",
    r"start to ready, on a used one",
    r"memory, idle",
    r"\d+ suspended, memory",
    r"\d+ suspended, CPU while idle",
    r"request to provider, median",
    r"text, provider to client, median",
    r"cancel to the model's socket closed",
    r"cancel to the other client's last frame",
)
WORKERS = (
    r"runs/s, one model call, concurrency 64, 1 worker",
    r"runs/s, one model call, concurrency 64, 2 workers",
    r"CPU per run, one model call, concurrency 64, 2 workers",
)
MANY_PROCESSES = (
    *WORKERS[:2],
    r"commit to start, median",
    r"commit to start, p99",
    r"text, commit to another API process's client, median",
    r"take-over after kill -9 of a worker",
)
POSTGRES_ONLY = (
    *WORKERS[2:],
    r"connections of an API process",
    r"connections of a worker",
    r"connections of a process that answers and works",
)

Cells = dict[tuple[str, str], str]


@pytest.fixture(autouse=True)
def _own_postgres(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another server need not keep the times of its commits."""
    monkeypatch.delenv("OUTLAST_TEST_POSTGRES_URL", raising=False)


def test_figures_can_be_taken(bench: Bench) -> None:
    status, table = bench("--quick", "--database", SQLITE, *OFTEN)
    assert status == 0, table
    _check(_cells(table), table, OFTEN_ROWS, SQLITE)


@pytest.mark.skipif(not WHOLE, reason="`make hostile` takes them all")
@pytest.mark.parametrize("kind", KINDS)
async def test_every_figure_can_be_taken(kind: str) -> None:
    if kind == POSTGRESQL:
        await _taken(kind, ON_POSTGRES, MANY_PROCESSES + POSTGRES_ONLY)
        return
    cells, table = await _taken(kind, (), BOTH)
    for figure in MANY_PROCESSES:
        assert re.match(r"none: \w+", _cell(cells, figure, kind)), f"{figure}\n{table}"


async def _taken(kind: str, names: Sequence[str], rows: Sequence[str]) -> tuple[Cells, str]:
    """Take figures (none: all) on a small scale; each of these rows must have a number."""
    status, table = await _bench("--quick", "--database", kind, *names)
    assert status == 0, table
    cells = _cells(table)
    _check(cells, table, rows, kind)
    return cells, table


def _check(cells: Cells, table: str, rows: Sequence[str], kind: str) -> None:
    """Each of these rows has a number."""
    for figure in rows:
        assert re.match(r"-?\d", _cell(cells, figure, kind)), f"{figure}\n{table}"


def test_a_figure_has_a_row_for_each_database_one_below_the_other(bench: Bench) -> None:
    status, table = bench("--quick", *ON_EACH)
    assert status == 0, table
    cells = _cells(table)
    for kind, rows in ((SQLITE, STORED), (POSTGRESQL, STORED + WORKERS)):
        _check(cells, table, rows, kind)
    stored = [place for place in cells if place[0].startswith("stored")]
    assert [database for _, database in stored] == [*LABELS.values()] * 2
    figures = [figure for figure, _ in stored]
    assert figures[::2] == figures[1::2]


async def test_a_figure_that_cannot_be_taken_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLAST_LOG_LEVEL", "nonsense")
    status, table = await _bench("--quick", "--database", SQLITE, "stored")
    assert status == 1
    assert "failed: DidNotStart" in table


@pytest.mark.parametrize(
    ("arguments", "known"),
    [(("nonsense",), tuple(FIGURES)), (("--database", "nonsense"), (*KINDS, "both"))],
    ids=["figure", "database"],
)
def test_what_is_unknown_is_named_with_what_there_is(
    arguments: tuple[str, ...],
    known: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    with pytest.raises(SystemExit, match="2"):
        main()
    text = capsys.readouterr().err
    assert all(name in text for name in known)


def _cells(table: str) -> Cells:
    """What each figure is on each database."""
    rows = [line.strip("| ").split("|") for line in table.splitlines() if line.startswith("|")]
    return {(row[0].strip(), row[1].strip()): row[2].strip() for row in rows[2:]}


def _cell(cells: Cells, figure: str, kind: str) -> str:
    found = [
        value
        for (name, database), value in cells.items()
        if database == LABELS[kind] and re.match(figure, name)
    ]
    assert found, f"{figure} on {kind}"
    return found[0]


async def _bench(*arguments: str) -> tuple[int | None, str]:
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench",
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(3 * BOUND):  # all figures at once, beside other tests
            output, _ = await child.communicate()
    except TimeoutError:
        child.terminate()
        await child.wait()
        raise
    return child.returncode, output.decode()
