"""Placeholder in lists for a row that cannot be read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from outlast.store.driver import Row

T = TypeVar("T")


class UnreadableRow(Exception):
    """The row of an execution is damaged, or was written by a newer version."""


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
        except (ValueError, TypeError, LookupError):
            found.append(Unreadable(*owner(row)))
    return found
