"""The table and its statistics."""

import pytest
from bench.table import Row, failed, markdown, median, percentile


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(1, 101)]
    assert percentile(values, 0.99) == 99
    assert percentile(values, 1) == 100
    assert percentile(values, 0) == 1
    assert median([3.0, 1.0, 2.0]) == 2
    assert median([4.0, 1.0]) == 1


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


def test_the_columns_of_the_table_are_aligned() -> None:
    rows = [Row("a", "1 ms", target="≤ 2 ms", met=True), failed("much longer", OSError("no\nport"))]
    lines = markdown(rows).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split("|")[1].strip() == "figure"
    assert lines[2].rstrip(" |").endswith("yes")
    assert "failed: OSError: no port" in lines[3]
    assert lines[3].rstrip(" |").endswith("NO")
