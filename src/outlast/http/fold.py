"""The fold of a room's stream, as another room may use it too."""

from collections.abc import Callable, Iterable
from typing import Protocol, TypeAlias

from outlast.model.event import Entry


class Fold(Protocol):
    """Turns one execution's log into the frames of a room's stream."""

    def frames(self, entries: Iterable[Entry]) -> bytes:
        """The frames of the next entries, which come piece by piece from the log's very start."""
        ...


NewFold: TypeAlias = Callable[[str], Fold]
"""Makes the fold of an execution's log, given its id."""
