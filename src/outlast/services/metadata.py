"""What lists of executions filter by beside states: end users, and metadata of chosen keys."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from outlast.model.error import InvalidField, InvalidFilter

_LONGEST: Final = 256
"""Characters of a value that is indexed; an index of Postgres takes no text of 3 KB."""


def indexed_values(keys: Sequence[str], metadata: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The names and values to index: text, numbers and flags, the latter two as JSON writes them.

    Lists, objects, null and texts over 256 characters are not indexed.
    """
    if not keys or not metadata:
        return ()
    values = [(key, _as_text(metadata.get(key))) for key in keys]
    return tuple(
        (key, value) for key, value in values if value is not None and len(value) <= _LONGEST
    )


def require_indexed(keys: Sequence[str], wanted: Sequence[tuple[str, str]]) -> None:
    """Raise InvalidFilter for a key that is not indexed and for a value that cannot be one."""
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
    """The same end user. Raises InvalidField where it is empty or too long."""
    if user is not None and not 0 < len(user) <= _LONGEST:
        raise InvalidField(f"user: 1 to {_LONGEST} characters.", param="user")
    return user


def _as_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode() if isinstance(value, bool | int | float) else None
