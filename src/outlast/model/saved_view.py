"""Saved views of the list of executions."""

from dataclasses import dataclass
from typing import Final

LONGEST_NAME: Final = 64
LONGEST_FILTER: Final = 1000
"""Characters."""
_NO_PARTS: Final = frozenset({"", ".", ".."})
"""Clients and proxies leave them out of a path."""


@dataclass(frozen=True, slots=True)
class SavedView:
    """A filter with a name, for all of a workspace."""

    name: str
    filter: str
    """As it is typed into the console's filter field."""
    updated_at: int


def is_path(name: str) -> bool:
    """Whether a name can be the end of a request's path."""
    return name.isprintable() and _NO_PARTS.isdisjoint(name.split("/"))
