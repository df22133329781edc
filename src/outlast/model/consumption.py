"""What a workspace has used in a time, added up from its charges."""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

HOUR_MILLIS: Final = 3_600_000
_DAY_MILLIS: Final = 24 * HOUR_MILLIS
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLI: Final = timedelta(milliseconds=1)


class Bucket(StrEnum):
    """The length of time that one row covers; days and months are UTC's."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"

    def start_of(self, at: int) -> int:
        """Return the start of the bucket that holds this moment."""
        match self:
            case Bucket.HOUR:
                return at - at % HOUR_MILLIS
            case Bucket.DAY:
                return at - at % _DAY_MILLIS
            case Bucket.MONTH:
                day = _EPOCH + at * _MILLI
                return (datetime(day.year, day.month, 1, tzinfo=UTC) - _EPOCH) // _MILLI

    def length(self, start: int) -> int:
        """Return the milliseconds of the bucket that starts here."""
        match self:
            case Bucket.HOUR:
                return HOUR_MILLIS
            case Bucket.DAY:
                return _DAY_MILLIS
            case Bucket.MONTH:
                day = _EPOCH + start * _MILLI
                return monthrange(day.year, day.month)[1] * _DAY_MILLIS

    def spans(self, start: int, end: int) -> Iterator["Span"]:
        """Yield the spans of buckets of equal length between two moments: months one by one."""
        first = self.start_of(start)
        while self is Bucket.MONTH and first + self.length(first) < end:
            following = first + self.length(first)
            yield Span(max(start, first), following, first, following - first)
            first = following
        if start < end:
            yield Span(max(start, first), end, first, self.length(first))


@dataclass(frozen=True, slots=True)
class Span:
    """A time from `start` to `end`, exclusive; its buckets of `length` begin at `first`."""

    start: int
    end: int
    first: int
    length: int


class Grouping(StrEnum):
    """What the rows of one bucket are divided by."""

    AGENT = "agent"
    MODEL = "model"
    TOOL = "tool"
    KEY = "key"
    CONVERSATION = "conversation"


@dataclass(frozen=True, slots=True)
class Consumption:
    """What was used in one bucket, by one group."""

    start: int
    """Start of the bucket, in milliseconds since the epoch."""
    group: str
    """An id, or the name of a model or tool; empty for all, and for charges that belong to no such
    group: those of tools have no model."""
    name: str | None
    """The name of the group's agent."""
    input_tokens: int
    output_tokens: int
    credits: int
    """Billionths."""
    model_requests: int
    tool_calls: int
    """Calls of tools that have a price."""
