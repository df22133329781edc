"""Values of the query, the path and the body that several rooms read in the same way."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from outlast.model import ids
from outlast.model.error import (
    InvalidFilter,
    InvalidId,
    NotFound,
)

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


def _plain(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain a NUL character")
    return text


def read_id(prefix: str, text: str) -> str:
    """Return an id of a parameter, in any spelling. Raises ValueError."""
    try:
        return ids.parse(prefix, text)
    except InvalidId as error:
        raise ValueError(f"must be an id of the form {prefix}_…") from error


_TIME_SCHEMA: Final = {
    "type": "string",
    "description": "ISO 8601, or a bare date.",
    "examples": ["2026-03-15T10:30:00Z", "2026-03-15"],
}

Moment = Annotated[int, BeforeValidator(moment), WithJsonSchema(_TIME_SCHEMA)]
"""A query parameter: ISO 8601, converted to milliseconds."""
EndMoment = Annotated[int, BeforeValidator(end_of), WithJsonSchema(_TIME_SCHEMA)]
"""A query parameter that includes the moment or day that it names."""
Headers = Annotated[
    dict[str, str],
    Field(
        max_length=64,
        description="Sent with every call of an HTTP tool, unless the tool sets the same header. "
        "Kept encrypted, gone when the execution ends.",
    ),
]
"""Headers to forward."""
User = Annotated[
    str,
    Field(
        min_length=1,
        max_length=256,
        description="The end user: kept, filtered by and passed to tools. Default: the "
        "conversation's.",
        examples=["user_4711"],
    ),
]
Plain = Annotated[str, AfterValidator(_plain)]
"""Text that a database can store."""
ExecutionId = Annotated[str, AfterValidator(partial(read_id, ids.EXECUTION))]
ConversationId = Annotated[str, AfterValidator(partial(read_id, ids.CONVERSATION))]
AgentId = Annotated[str, AfterValidator(partial(read_id, ids.AGENT))]


@contextmanager
def filter_value(param: str) -> Iterator[None]:
    """Raise InvalidFilter in place of NotFound: the object that a filter names must exist."""
    try:
        yield
    except NotFound as error:
        raise InvalidFilter(error.message, param=param) from error
