"""View models of usage: bars as numbers of an SVG, rows of a table."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from io import StringIO
from typing import Final

from outlast.model.agent import shown_model
from outlast.model.clock import iso
from outlast.model.consumption import HOUR_MILLIS, Bucket, Consumption
from outlast.rooms.console.render.words import counted, short_id
from outlast.rooms.console.render.words import credits as written
from outlast.services.lists import Created

WIDTH: Final = 720
HEIGHT: Final = 120
_GAP: Final = 2
_MOST: Final = 400
_CREATED: Final = ("executions", "failed")
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
    created: Created | None = None
    """Executions of the bucket, where rows are not divided."""
    words: str = ""
    """What the filter of the executions says for it."""


def bars(rows: Sequence[Consumption], bucket: Bucket, starts: Sequence[int]) -> list[Bar]:
    """Return a bar of credits for each bucket of a time; none if nothing was used."""
    spent: dict[int, int] = defaultdict(int)
    for row in rows:
        spent[bucket.start_of(row.start)] += row.credits
    return _drawn(
        [
            (spent[at], f"{_when(at, bucket)}: {written(spent[at])} credits")
            for at in map(bucket.start_of, starts)
        ]
    )


def run_bars(created: Sequence[Created], bucket: Bucket) -> list[tuple[Bar, float]]:
    """Return a bar of executions for each bucket, and the height of those that failed in it."""
    titles = [
        f"{_when(one.at, bucket)}: {counted(one.count)} executions, {counted(one.failed)} failed"
        for one in created
    ]
    drawn = _drawn([(one.count, title) for one, title in zip(created, titles, strict=True)])
    return [
        (bar, round(bar.height * min(one.failed, one.count) / one.count, 2) if one.count else 0)
        for bar, one in zip(drawn, created, strict=False)
    ]


def _drawn(amounts: Sequence[tuple[int, str]]) -> list[Bar]:
    """Return bars, the highest as high as the chart, with their titles; none if all are 0."""
    most = max((amount for amount, _ in amounts), default=0)
    if not most:
        return []
    each = WIDTH / len(amounts)
    return [
        Bar(
            round(n * each, 2),
            round(HEIGHT - HEIGHT * amount / most, 2),
            round(max(1.0, each - _GAP), 2),
            round(HEIGHT * amount / most, 2),
            title,
        )
        for n, (amount, title) in enumerate(amounts)
    ]


def starts_of(bucket: Bucket, start: int, end: int) -> list[int]:
    """Return when the buckets of a time begin; the first one with the time."""
    found = [start]
    at = start
    while at < end and len(found) < _MOST:
        at += HOUR_MILLIS
        begun = bucket.start_of(at)
        if begun > found[-1] and begun < end:
            found.append(begun)
    return found


def table(
    rows: Sequence[Consumption], bucket: Bucket, created: Sequence[Created] = (), end: int = 0
) -> list[UsageRow]:
    """Return the rows, newest first; with executions there is one for each bucket that has any."""
    ends = dict(zip(created, [*(one.at for one in created[1:]), end], strict=False))
    found = []
    for row, one in _with_created(rows, bucket, created):
        shown = _row(row, bucket)
        if one is not None:
            words = f"since:{iso(one.at)} before:{iso(ends[one])}"
            shown = replace(shown, created=one, words=words)
        found.append(shown)
    return found[::-1]


def _row(row: Consumption, bucket: Bucket) -> UsageRow:
    return UsageRow(
        _when(row.start, bucket),
        _group(row),
        row.model_requests,
        row.tool_calls,
        row.input_tokens,
        row.output_tokens,
        row.credits,
    )


def _group(row: Consumption) -> str:
    return row.name or (short_id(row.group) if "_" in row.group else shown_model(row.group))


def lines_of_csv(
    rows: Sequence[Consumption],
    bucket: Bucket,
    by: str,
    created: Sequence[Created] = (),
    most: int = 0,
) -> str:
    """Return the rows as CSV, in their order, with a line of names.

    With executions there is a line for each bucket that has any; a count that stopped at `most` is
    left empty, since it is not known.
    """
    text = StringIO()
    lines = csv.writer(text, lineterminator="\n")
    of_group = [by] if by else []
    lines.writerow(["time", *of_group, *(_CREATED if created else ()), *_NUMBERS])
    for row, one in _with_created(rows, bucket, created):
        group = [_group(row)] if by else []
        counts = [] if one is None else [one.count, one.failed]
        numbers = [row.model_requests, row.tool_calls, row.input_tokens, row.output_tokens]
        lines.writerow(
            [
                _when(row.start, bucket),
                *group,
                *("" if count >= most else count for count in counts),
                *numbers,
                f"{Decimal(row.credits).scaleb(-9):f}",
            ]
        )
    return text.getvalue()


def _with_created(
    rows: Sequence[Consumption], bucket: Bucket, created: Sequence[Created]
) -> list[tuple[Consumption, Created | None]]:
    """Return the rows, where executions are known those of every bucket that has any."""
    if not created:
        return [(row, None) for row in rows]
    used = {bucket.start_of(row.start): row for row in rows}
    found: list[tuple[Consumption, Created | None]] = []
    for one in created:
        row = used.get(bucket.start_of(one.at))
        if row is not None or one.count:
            found.append((row or Consumption(one.at, "", None, 0, 0, 0, 0, 0), one))
    return found


def _when(at: int, bucket: Bucket) -> str:
    text = iso(at)
    match bucket:
        case Bucket.HOUR:
            return f"{text[:10]} {text[11:16]}"
        case Bucket.DAY:
            return text[:10]
        case Bucket.MONTH:
            return text[:7]
