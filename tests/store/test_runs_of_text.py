"""A step's text is kept in rows that are small enough to be read one by one."""

import pytest

from outlast.model.event import TextAdded
from outlast.store.executions.log import parted


@pytest.mark.parametrize(
    "pieces",
    [("a",), ("a",) * 5000, ("b" * 9000,) * 9, ("c" * 10**6, "d", "e" * 10**6), ("f" * 16384,) * 2],
)
def test_a_long_run_of_pieces_is_kept_in_short_ones(pieces: tuple[str, ...]) -> None:
    runs = list(parted(TextAdded(1, 2, pieces)))
    assert tuple(piece for run in runs for piece in run.pieces) == pieces
    assert all(run.pieces and (run.step, run.part) == (1, 2) for run in runs)
    for run in runs:
        assert len(run.pieces) <= 1000
        assert len(run.pieces) == 1 or sum(map(len, run.pieces)) <= 16 * 1024
