"""Saved views of the list of executions."""

from dataclasses import dataclass
from typing import Final

LONGEST_NAME: Final = 64
LONGEST_FILTER: Final = 1000
"""Characters."""


@dataclass(frozen=True, slots=True)
class SavedView:
    """A filter with a name, for all of a workspace."""

    name: str
    filter: str
    """As it is typed into the console's filter field."""
    updated_at: int
