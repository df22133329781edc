"""Which stretch of a list is read."""

from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """Which stretch of a list: at most `limit` things older than `after` or newer than `before`."""

    limit: int
    after: str | None = None
    before: str | None = None

    @property
    def backwards(self) -> bool:
        """Whether the walk goes from older to newer; lists are newest first all the same."""
        return self.before is not None and self.after is None

    def cut(self, found: list[T]) -> tuple[list[T], bool]:
        """The page out of what the store found, and whether there is more behind it."""
        kept = found[-self.limit :] if self.backwards else found[: self.limit]
        return kept, len(found) > self.limit
