"""Rows that cannot be read: the error of one, and its placeholder in a list."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from outlast.model.unreadable import ExecutionUnreadable
from outlast.store.driver import Row

T = TypeVar("T")

BROKEN: Final = (ValueError, TypeError, LookupError, AttributeError, AssertionError)
"""What the reader of a row raises if the row is damaged, or was written by a newer version."""


def read_of(row: Row, read: Callable[[Row], T], execution_id: str) -> T:
    """Read a row of this execution. Raises ExecutionUnreadable."""
    try:
        return read(row)
    except BROKEN as error:
        raise ExecutionUnreadable(execution_id) from error


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that is damaged, or was written by a newer version."""

    workspace_id: str
    execution_id: str


def readable(
    rows: Iterable[Row], read: Callable[[Row], T], owner: Callable[[Row], tuple[str, str]]
) -> list[T | Unreadable]:
    """Read each row; one that cannot be read does not affect the others.

    `owner` returns the row's workspace and execution.
    """
    found: list[T | Unreadable] = []
    for row in rows:
        try:
            found.append(read(row))
        except BROKEN:
            found.append(Unreadable(*owner(row)))
    return found
