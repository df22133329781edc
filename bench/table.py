"""The rows of the table, how they are written, and the few statistics that they need."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

HEAD = ("figure", "database", "ours", "baseline", "ratio", "target", "met")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; `met` is None where nothing was promised."""

    figure: str
    ours: str
    baseline: str = "–"
    ratio: str = "–"
    target: str = "–"
    met: bool | None = None
    database: str = "–"
    """On which database; a figure that needs none has a dash."""


def unpromised(row: Row) -> Row:
    """The figure without its target: that was set for another database."""
    return replace(row, target="–", met=None)


def absent(figure: str, database: str, why: str) -> Row:
    """A figure that makes no sense on this database."""
    return Row(figure, f"none: {why}", database=database)


def failed(figure: str, error: BaseException) -> Row:
    """A figure that could not be taken."""
    reason = " ".join(str(error).split())[:120]
    return Row(figure, f"failed: {type(error).__name__}: {reason}", met=False)


def markdown(rows: Iterable[Row]) -> str:
    """All rows as one Markdown table, its columns padded to the same width.

    A figure's rows follow each other, one for each database.
    """
    figures: dict[str, list[Row]] = {}
    for row in rows:
        figures.setdefault(row.figure, []).append(row)
    lines = [HEAD, *(_cells(row) for found in figures.values() for row in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in (lines[0], rule, *lines[1:])
    )


def _cells(row: Row) -> tuple[str, ...]:
    met = {None: "–", True: "yes", False: "NO"}[row.met]
    return (row.figure, row.database, row.ours, row.baseline, row.ratio, row.target, met)


def with_database(own: str, database: float, unit: str) -> str:
    """A cost of the server, and what its database's own processes had of it beside."""
    return f"{own} + Postgres {database:.1f} {unit}" if database else own


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share (0–1) of the values do not exceed.

    Raises ValueError without values.
    """
    if not values:
        raise ValueError("There is nothing to take a percentile of.")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle value; the lower of two."""
    return percentile(values, 0.5)
