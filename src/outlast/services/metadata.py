"""Filters of lists of executions besides states: end users, and metadata of configured keys."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from outlast.model.error import InvalidField, InvalidFilter

_LONGEST: Final = 256
"""Maximum characters of an indexed value; an index of Postgres takes no text of 3 KB."""


def indexed_values(keys: Sequence[str], metadata: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return names and values to index: text, numbers and booleans, the latter two as JSON.

    Arrays, objects, null and texts over 256 characters are not indexed.
    """
    if not keys or not metadata:
        return ()
    values = [(key, _as_text(metadata.get(key))) for key in keys]
    return tuple(
        (key, value) for key, value in values if value is not None and len(value) <= _LONGEST
    )


def require_indexed(keys: Sequence[str], wanted: Sequence[tuple[str, str]]) -> None:
    """Raise InvalidFilter for a key that is not indexed or a value that cannot be."""
    for key, value in wanted:
        if key not in keys:
            known = ", ".join(keys) or "none"
            raise InvalidFilter(
                f"metadata.{key[:80]}: lists do not filter by this key; keys of indexed_metadata: "
                f"{known}.",
                param=f"metadata.{key[:80]}",
            )
        if "\0" in value:
            problem = f"metadata.{key}: must not contain a NUL character."
            raise InvalidFilter(problem, param=f"metadata.{key}")


def checked_user(user: str | None) -> str | None:
    """Return the end user unchanged. Raises InvalidField if it is empty or too long."""
    if user is not None and not 0 < len(user) <= _LONGEST:
        raise InvalidField(f"user: 1 to {_LONGEST} characters.", param="user")
    return user


def _as_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode() if isinstance(value, bool | int | float) else None
