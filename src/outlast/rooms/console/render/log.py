"""View models of the log: its entries as text, pieces of one text together; a search in them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import orjson

from outlast.model.agent import shown_model
from outlast.model.event import Entry, ModelFinished, TextAdded, ThinkingAdded
from outlast.model.event_codec import encode
from outlast.rooms.console.render.words import shortened

_READ: Final = 2_000
_LONGEST: Final = 1024 * 1024
"""Rows and characters that a search reads for one page: it takes the event loop's time."""
_AROUND: Final = 60


class Found(NamedTuple):
    """What a search has found in a row, and what is around it."""

    before: str
    text: str
    behind: str


@dataclass(slots=True)
class LogRow:
    """One entry, or pieces of one text that follow each other."""

    cursor: str
    at: int
    kind: str
    data: str
    pieces: list[str] = field(default_factory=list)
    part: tuple[int, int] | None = None
    """Step and part of a text."""
    found: Found | None = None
    """None where nothing is searched for, and where the entry's name alone is what is."""

    @property
    def text(self) -> str:
        """The text of its pieces, or its data."""
        return "".join(self.pieces) if self.part else self.data


class LogRows:
    """Collects rows from entries, which are single pieces, up to a number of rows.

    A search collects those that have the words, in this order and in any case, and stops as well
    when it has read enough for one page.
    """

    def __init__(self, most: int, search: str = "") -> None:
        self.rows: list[LogRow] = []
        self.more = False
        """Whether there are entries behind the last row that was read."""
        self.last = ""
        """The cursor of that row."""
        self._most = most
        words = r"\s+".join(re.escape(word) for word in search.split())
        self._search = re.compile(words, re.IGNORECASE) if words else None
        self._open: LogRow | None = None
        self._rows_read = self._characters_read = 0

    def add(self, entries: Iterable[Entry]) -> None:
        """Add the next entries, as far as there is room."""
        for entry in entries:
            if self.more:
                return
            self._add(entry)

    def close(self) -> None:
        """Add the last row: no entry follows that could belong to it."""
        row, self._open = self._open, None
        if row is None:
            return
        self.last = row.cursor
        if self._search is None or self._has(row, self._search):
            row.data = shortened(row.data)
            self.rows.append(row)

    def _add(self, entry: Entry) -> None:
        event, row = entry.event, None
        if isinstance(event, TextAdded | ThinkingAdded):
            part, last = (event.step, event.part), self._open
            if last is not None and (last.kind, last.part) == (event.kind, part):
                last.pieces += event.pieces
                last.cursor = str(entry.cursor)
                return
            row = LogRow(str(entry.cursor), entry.at, event.kind, "", list(event.pieces), part)
        self.close()
        if self._is_full:
            self.more = True
            return
        self._open = row or LogRow(str(entry.cursor), entry.at, event.kind, _data(entry))

    @property
    def _is_full(self) -> bool:
        read_enough = self._rows_read >= _READ or self._characters_read >= _LONGEST
        return len(self.rows) == self._most or read_enough

    def _has(self, row: LogRow, search: re.Pattern[str]) -> bool:
        """Return whether a row has what is searched for, and note where."""
        text = row.text
        self._rows_read += 1
        self._characters_read += len(text)
        at = search.search(text)
        if at is not None:
            start, end = at.span()
            row.found = Found(
                text[max(0, start - _AROUND) : start], at[0], text[end : end + _AROUND]
            )
        return at is not None or search.search(row.kind) is not None


def _data(entry: Entry) -> str:
    found = orjson.loads(encode(entry.event))
    if isinstance(entry.event, ModelFinished):
        found["model"] = shown_model(entry.event.model)
    return orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()
