"""The rows of the table, how they are written, and the few statistics that they need."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

HEAD = ("figure", "ours", "baseline", "ratio", "target", "met")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; `met` is None where nothing was promised."""

    figure: str
    ours: str
    baseline: str = "–"
    ratio: str = "–"
    target: str = "–"
    met: bool | None = None


def failed(figure: str, error: BaseException) -> Row:
    """A figure that could not be taken."""
    reason = " ".join(str(error).split())[:120]
    return Row(figure, f"failed: {type(error).__name__}: {reason}", met=False)


def markdown(rows: Iterable[Row]) -> str:
    """All rows as one Markdown table, its columns padded to the same width."""
    lines = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in (lines[0], rule, *lines[1:])
    )


def _cells(row: Row) -> tuple[str, ...]:
    *texts, met = astuple(row)
    return (*texts, {None: "–", True: "yes", False: "NO"}[met])


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
