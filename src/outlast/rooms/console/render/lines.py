"""Differences of texts, line by line, in bounded time: a page is rendered on the event loop."""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any, Final, NamedTuple

import orjson

_CANONICAL: Final = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS
_CLOSE: Final = 200
"""Lines of either side up to which they are matched with each other: it takes squared time."""
_AROUND: Final = 3
"""Equal lines that are shown beside those that differ."""
_SHOWN: Final = 400


class Line(NamedTuple):
    """A line, and the element that shows it: `ins`, `del` or `span`."""

    tag: str
    text: str


def json_lines(value: Any) -> list[str]:
    """Return JSON line by line, keys in order."""
    return orjson.dumps(value, option=_CANONICAL).decode().splitlines()


def differing(
    before: Sequence[str], after: Sequence[str], around: int = _AROUND
) -> tuple[list[Line], bool]:
    """Return the lines that differ, with those around them, and whether there are more."""
    if before == after:
        return [], False
    same = next(
        (n for n, (one, other) in enumerate(zip(before, after, strict=False)) if one != other),
        min(len(before), len(after)),
    )
    least, end = min(len(before), len(after)) - same, 0
    while end < least and before[-1 - end] == after[-1 - end]:
        end += 1
    gone, new = before[same : len(before) - end], after[same : len(after) - end]
    lines = [Line("span", text) for text in before[max(0, same - around) : same]]
    lines += _matched(gone, new)
    behind = len(before) - end
    lines += [Line("span", text) for text in before[behind : behind + around]]
    return lines[:_SHOWN], len(lines) > _SHOWN


def _matched(gone: Sequence[str], new: Sequence[str]) -> list[Line]:
    if len(gone) > _CLOSE or len(new) > _CLOSE:
        return [*(Line("del", text) for text in gone), *(Line("ins", text) for text in new)]
    lines = []
    for what, a, b, c, d in SequenceMatcher(None, gone, new, autojunk=False).get_opcodes():
        if what == "equal":
            lines += [Line("span", text) for text in gone[a:b]]
        else:
            lines += [Line("del", text) for text in gone[a:b]]
            lines += [Line("ins", text) for text in new[c:d]]
    return lines
