"""View models of usage: bars as numbers of an SVG, rows of a table."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from io import StringIO
from typing import Final

from outlast.model.agent import shown_model
from outlast.model.clock import iso
from outlast.model.consumption import Bucket, Consumption
from outlast.rooms.console.render.words import credits as written
from outlast.rooms.console.render.words import short_id

WIDTH: Final = 720
HEIGHT: Final = 120
_GAP: Final = 2
_MOST: Final = 400
_NUMBERS: Final = ("model requests", "tool calls", "tokens in", "tokens out", "credits")


@dataclass(frozen=True, slots=True)
class Bar:
    """One bucket, of all groups together."""

    x: float
    y: float
    width: float
    height: float
    title: str


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One bucket and group."""

    when: str
    group: str
    requests: int
    calls: int
    input_tokens: int
    output_tokens: int
    credits: int


def bars(rows: Sequence[Consumption], bucket: Bucket, start: int, end: int) -> list[Bar]:
    """Return a bar of credits for each bucket of a time; none if nothing was used."""
    spent: dict[int, int] = defaultdict(int)
    for row in rows:
        spent[bucket.start_of(row.start)] += row.credits
    most = max(spent.values(), default=0)
    if not most:
        return []
    starts = _starts(bucket, start, end)
    each = WIDTH / len(starts)
    return [
        Bar(
            round(n * each, 2),
            round(HEIGHT - HEIGHT * spent[at] / most, 2),
            round(max(1.0, each - _GAP), 2),
            round(HEIGHT * spent[at] / most, 2),
            f"{_when(at, bucket)}: {written(spent[at])} credits",
        )
        for n, at in enumerate(starts)
    ]


def _starts(bucket: Bucket, start: int, end: int) -> list[int]:
    """Return the starts of all buckets of a time."""
    found = [bucket.start_of(start)]
    hour = 60 * 60 * 1000
    at = start
    while at < end and len(found) < _MOST:
        at += hour
        begun = bucket.start_of(at)
        if begun != found[-1] and begun < end:
            found.append(begun)
    return found


def table(rows: Sequence[Consumption], bucket: Bucket) -> list[UsageRow]:
    """Return the rows, newest first."""
    return [
        UsageRow(
            _when(row.start, bucket),
            _group(row),
            row.model_requests,
            row.tool_calls,
            row.input_tokens,
            row.output_tokens,
            row.credits,
        )
        for row in reversed(rows)
    ]


def _group(row: Consumption) -> str:
    return row.name or (short_id(row.group) if "_" in row.group else shown_model(row.group))


def lines_of_csv(rows: Sequence[Consumption], bucket: Bucket, by: str) -> str:
    """Return the rows as CSV, in their order, with a line of names."""
    text = StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["time", *([by] if by else []), *_NUMBERS])
    for row in rows:
        group = [_group(row)] if by else []
        numbers = [row.model_requests, row.tool_calls, row.input_tokens, row.output_tokens]
        lines.writerow(
            [_when(row.start, bucket), *group, *numbers, f"{Decimal(row.credits).scaleb(-9):f}"]
        )
    return text.getvalue()


def _when(at: int, bucket: Bucket) -> str:
    text = iso(at)
    match bucket:
        case Bucket.HOUR:
            return f"{text[:10]} {text[11:16]}"
        case Bucket.DAY:
            return text[:10]
        case Bucket.MONTH:
            return text[:7]
