"""Two checkouts side by side: here this one beside itself, on a scale that only shows it runs."""

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from bench.lab import OUTLAST
from bench.process import ROOT
from bench.scale import QUICK
from bench.state import LABELS, POSTGRESQL, SQLITE, Postgres

from bench import against
from tests.support.long_cases import first_of

pytestmark = pytest.mark.anyio


@pytest.mark.usefixtures("forks")
@pytest.mark.parametrize(("kind", "count"), first_of([(POSTGRESQL, 18), (SQLITE, 11)]))
async def test_every_figure_has_a_ratio_of_this_checkout_and_the_other(
    monkeypatch: pytest.MonkeyPatch, kind: str, count: int
) -> None:
    monkeypatch.delenv("OUTLAST_TEST_POSTGRES_URL", raising=False)
    for name, few in (("RUNS", 12), ("TOKENS", 2), ("STREAMS", 3), ("MANY_STREAMS", 3)):
        monkeypatch.setattr(against, name, few)
    monkeypatch.setattr(Postgres, "cpu_seconds", lambda _: time.monotonic())
    with TemporaryDirectory(prefix="outlast-bench-") as room:  # where Postgres' own user comes
        rows = await against.take(OUTLAST, 1, Path(room), QUICK, (kind,))
    figures = [row.figure for row in rows]
    assert len(figures) == len(set(figures)) == count
    times = [row for row in rows if not row.figure.startswith(("CPU", "3 streams, CPU"))]
    assert all(float(row.ratio.partition("×")[0]) > 0 for row in times)
    assert {row.database for row in rows} == {LABELS[kind]}
    if kind == POSTGRESQL:
        [statements] = [row for row in rows if row.figure == "statements of a run"]
        assert 1 <= float(statements.ours) <= 14


def test_a_row_tells_the_median_of_the_pairs_and_whether_it_is_within_the_bound() -> None:
    pairs = [
        ({"ms": ours}, {"ms": theirs}) for ours, theirs in ((1.0, 2.0), (3.0, 3.0), (8.0, 4.0))
    ]
    row = against._row("ms", pairs)
    assert (row.ours, row.baseline) == ("3.00", "the other 3.00")
    assert (row.ratio, row.met) == ("1.000× (0.50–2.00)", True)
    slower = against._row("ms", [({"ms": 1.06}, {"ms": 1.0})])
    assert slower.met is False


def test_a_folder_without_an_installation_is_refused_with_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.against", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"make -C {tmp_path} install" in done.stderr
