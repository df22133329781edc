"""A run's stream as a fold over the log; frames are numbered from 0.

entry → fold → frames, each with the index that it has in every replay. A frame's content and index
depend only on the log up to its entry.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import orjson

from outlast.http.sse import frame
from outlast.model.event import Entry


class Fold(Protocol):
    """A format: maps a log's entries to frames."""

    def frames(self, entry: Entry, index: int) -> Sequence[bytes]:
        """Return the frames of the next entry, the first of which has this index.

        Entries are single pieces, from the log's start.
        """
        ...


def numbered(index: int, chunks: Iterable[dict[str, Any] | bytes]) -> list[bytes]:
    """Return chunks as frames whose `id` is their index; bytes are sent unchanged."""
    return [
        frame(str(number), chunk if isinstance(chunk, bytes) else orjson.dumps(chunk))
        for number, chunk in enumerate(chunks, index)
    ]


class NumberedFrames:
    """The frames of a whole log, numbered from 0."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self.count = 0
        """Number of frames so far."""

    def add(self, entries: Iterable[Entry]) -> list[bytes]:
        """Return the frames of the next entries."""
        found: list[bytes] = []
        for entry in entries:
            made = self._fold.frames(entry, self.count)
            self.count += len(made)
            found.extend(made)
        return found
