"""Times as people write them: ISO 8601, or a bare date."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

_SPACE_FOR_PLUS: Final = re.compile(r"(T.*) (\d\d:?\d\d)$")
"""Matches an offset whose plus sign was not percent-encoded."""
_DAY: Final = timedelta(days=1)


def moment(text: Any) -> int:
    """Read ISO 8601 as milliseconds since the epoch; a date is its start. Raises ValueError."""
    millis = _read_moment(text)[0]
    if not _FIRST <= millis <= _LAST:
        raise ValueError("must be in the years 1 to 9999, in UTC")
    return millis


def end_of(text: Any) -> int:
    """Return the first millisecond after a moment, or after a date's day. Raises ValueError."""
    millis, is_day = _read_moment(text)
    return millis + (_DAY // timedelta(milliseconds=1) if is_day else 1)


def _read_moment(text: Any) -> tuple[int, bool]:
    if not isinstance(text, str):
        raise ValueError("must be an ISO 8601 date or time")  # noqa: TRY004 - pydantic reads ValueError
    text = _SPACE_FOR_PLUS.sub(r"\1+\2", text.strip())
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return _millis(_read_time(text)), False
    return _millis(datetime(day.year, day.month, day.day, tzinfo=UTC)), True


def _read_time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError("must be an ISO 8601 date or time, as 2026-03-15T10:30:00Z") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _millis(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


_FIRST: Final = _millis(datetime.min.replace(tzinfo=UTC))
_LAST: Final = _millis(datetime.max.replace(tzinfo=UTC))
"""The moments that an answer can show."""
