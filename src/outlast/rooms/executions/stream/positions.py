"""Positions in a stream that weaves the logs of a tree: a cursor for each log that is open.

    2-14(0:1-7,3:*,4:0-1(0:1-2))

is behind 2-14 of the root's log, behind 1-7 of that of its first child, behind all of that of its
fourth, and so on. A child is named by its number in its parent's log, from 0. One that is not named
is open from its start if its parent's log has begun it and does not have its end by then, else it
is over: so a position is as long as there are open children, not as there ever were.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from outlast.model.error import InvalidCursor
from outlast.model.event import START, Cursor

MAX_CHARACTERS: Final = 16 * 1024
"""Longer ones are refused; the longest that the server makes has about half."""
_DEEPEST: Final = 8
_TOKEN: Final = re.compile(r"(?:(\d{1,6}):)?(\*|\d{1,15}-\d{1,15})(\(?)|([,)])")


@dataclass(slots=True)
class Position:
    """How much of an execution's log, and of those below it, was sent."""

    cursor: Cursor = START
    over: bool = False
    """Whether all of it was sent, and all below it."""
    below: dict[int, "Position"] = field(default_factory=dict)
    """Of the children whose end was not sent, by their number."""

    def __str__(self) -> str:
        if self.over:
            return "*"
        open_ = ",".join(
            f"{number}:{one}"
            for number, one in sorted(self.below.items())
            if one.over or one.cursor != START
        )
        return f"{self.cursor}({open_})" if open_ else str(self.cursor)


def parsed(text: str) -> Position:
    """Read a position. Raises InvalidCursor."""
    text = text.strip()
    if len(text) > MAX_CHARACTERS:
        raise InvalidCursor
    root, place = Position(), 0
    path: list[Position] = []
    named = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise InvalidCursor
        place = found.end()
        number, cursor, opens, ends = found.groups()
        if ends == ")" and path:
            path.pop()
        elif ends is None and bool(path) == (number is not None):
            one = Position() if path else root
            named += not path
            one.over = cursor == "*"
            one.cursor = START if one.over else Cursor.parse(cursor)
            if path:
                path[-1].below[int(number)] = one
            if opens:
                path.append(one)
        elif ends != "," or not path:
            raise InvalidCursor
        if len(path) > _DEEPEST or named > 1:
            raise InvalidCursor
    if path or not named or root.over:
        raise InvalidCursor
    return root
