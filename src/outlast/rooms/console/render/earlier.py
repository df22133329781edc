"""What stood in an execution before the part of its log that a page reads."""

from typing import Final, NamedTuple

from outlast.model.error import InvalidCursor
from outlast.model.event import Cursor
from outlast.model.whole_number import number_of

_DIGITS: Final = 15


class Earlier(NamedTuple):
    """What stood where a transcript begins: nothing, or the steps up to one, of a run that ran.

    As text it is a value of the stream's address, so that the stream begins where its page does.
    """

    segment: int = 0
    seq: int = 0
    at: int = 0
    """When the last entry was written."""
    step: int = 0
    began: int = 0
    """When the execution began."""
    since: int = 0
    """Since when it ran, about."""
    steps: int = 0
    """How many steps stood, and what all had cost."""
    tokens: int = 0
    credits: int = 0

    @property
    def cursor(self) -> Cursor:
        """Where it ends."""
        return Cursor(self.segment, self.seq)

    def __str__(self) -> str:
        return "-".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> "Earlier":
        """Read its text. Raises InvalidCursor."""
        found = [number_of(one, digits=_DIGITS) for one in text.split("-")]
        known = [one for one in found if one is not None]
        if not len(known) == len(found) == len(cls._fields):
            raise InvalidCursor(param="behind")
        return cls(*known)


NOTHING: Final = Earlier()
