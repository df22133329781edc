"""A run's stream, frame by frame: a fold over the log, counted from 0.

entry → fold → frames, each under the index that it has in every replay. What a frame says and where
it stands depend on the log up to its entry and on nothing else.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import orjson

from outlast.http.sse import frame
from outlast.model.event import Entry


class Fold(Protocol):
    """One format: what a log's entries say in it."""

    def frames(self, entry: Entry, index: int) -> Sequence[bytes]:
        """The frames of the next entry, the first of which has this index.

        Entries come piece by piece from the log's very start.
        """
        ...


def numbered(index: int, chunks: Iterable[dict[str, Any] | bytes]) -> list[bytes]:
    """Chunks as frames whose `id` is their index; bytes are sent as they are."""
    return [
        frame(str(number), chunk if isinstance(chunk, bytes) else orjson.dumps(chunk))
        for number, chunk in enumerate(chunks, index)
    ]


class NumberedFrames:
    """The frames of a whole log, numbered from 0."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self.count = 0
        """How many frames the log has made so far."""

    def add(self, entries: Iterable[Entry]) -> list[bytes]:
        """The frames of the next entries."""
        found: list[bytes] = []
        for entry in entries:
            made = self._fold.frames(entry, self.count)
            self.count += len(made)
            found.extend(made)
        return found
