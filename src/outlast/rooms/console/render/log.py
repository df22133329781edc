"""View models of the log: its entries as text, pieces of one text together."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import orjson

from outlast.model.agent import shown_model
from outlast.model.event import Entry, ModelFinished, TextAdded, ThinkingAdded
from outlast.model.event_codec import encode
from outlast.rooms.console.render.words import shortened


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


class LogRows:
    """Collects rows from entries, which are single pieces, up to a number of rows."""

    def __init__(self, most: int) -> None:
        self.rows: list[LogRow] = []
        self.more = False
        """Whether there are entries behind the last row."""
        self._most = most

    def add(self, entries: Iterable[Entry]) -> None:
        """Add the next entries, as far as there is room."""
        for entry in entries:
            if self.more:
                return
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        event, row = entry.event, None
        if isinstance(event, TextAdded | ThinkingAdded):
            part = (event.step, event.part)
            last = self.rows[-1] if self.rows else None
            if last is not None and (last.kind, last.part) == (event.kind, part):
                last.pieces += event.pieces
                last.cursor = str(entry.cursor)
                return
            row = LogRow(str(entry.cursor), entry.at, event.kind, "", list(event.pieces), part)
        if len(self.rows) == self._most:
            self.more = True
            return
        self.rows.append(row or LogRow(str(entry.cursor), entry.at, event.kind, _data(entry)))


def _data(entry: Entry) -> str:
    found = orjson.loads(encode(entry.event))
    if isinstance(entry.event, ModelFinished):
        found["model"] = shown_model(entry.event.model)
    return shortened(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode())
