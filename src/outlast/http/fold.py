"""The fold of a room's stream, usable by other rooms too."""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

from outlast.model.event import Entry


class Fold(Protocol):
    """Folds one execution's log into the frames of a room's stream."""

    def frames(self, entries: Iterable[Entry]) -> bytes:
        """Return the frames of the next entries, which are single pieces, from the log's start."""
        ...


NewFold: TypeAlias = Callable[[str], Fold]
"""Makes the fold of an execution's log, given its id."""
