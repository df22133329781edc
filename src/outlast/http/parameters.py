"""Values of the query, the path and the body that several rooms read in the same way."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from outlast.model import ids
from outlast.model.error import (
    InvalidFilter,
    InvalidId,
    NotFound,
)
from outlast.model.moment import end_of, moment


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
