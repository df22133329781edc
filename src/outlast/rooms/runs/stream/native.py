"""`native`: the frames of the main room, injected by the composition root.

Their `id` is a cursor of the log; they are numbered like those of the other formats.
"""

from collections.abc import Sequence

from outlast.http.fold import Fold
from outlast.model.event import Entry


class NativeFold:
    """Counts the frames of another room's fold."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold

    def frames(self, entry: Entry, index: int) -> Sequence[bytes]:
        del index
        made = self._fold.frames((entry,))
        return (made,) if made else ()
