"""The table and its statistics."""

import pytest
from bench.table import (
    Row,
    absent,
    failed,
    markdown,
    median,
    percentile,
    unpromised,
    with_database,
)


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


def test_a_figures_rows_are_one_below_the_other() -> None:
    rows = [
        Row("a", "1", database="SQLite"),
        Row("b", "2"),
        Row("a", "3", database="Postgres"),
        absent("b", "Postgres", "it has no b"),
    ]
    cells = [[cell.strip() for cell in line.split("|")] for line in markdown(rows).splitlines()[2:]]
    assert [(row[1], row[2], row[3]) for row in cells] == [
        ("a", "SQLite", "1"),
        ("a", "Postgres", "3"),
        ("b", "–", "2"),
        ("b", "Postgres", "none: it has no b"),
    ]


def test_what_was_promised_for_another_database_is_no_target() -> None:
    row = unpromised(Row("a", "9 ms", target="≤ 5 ms", met=False, database="Postgres"))
    assert row == Row("a", "9 ms", database="Postgres")


def test_a_database_without_processes_of_its_own_costs_nothing_beside() -> None:
    assert with_database("1.0 ms", 0.0, "ms") == "1.0 ms"
    assert with_database("1.0 ms", 0.25, "ms") == "1.0 ms + Postgres 0.2 ms"
