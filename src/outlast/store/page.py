"""Pages of lists."""

from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a list: at most `limit` items older than `after` or newer than `before`."""

    limit: int
    after: str | None = None
    before: str | None = None

    @property
    def backwards(self) -> bool:
        """Whether paging goes from older to newer; pages are newest first in either case."""
        return self.before is not None and self.after is None

    def cut(self, found: list[T]) -> tuple[list[T], bool]:
        """Return the page from the store's rows, and whether there are more."""
        kept = found[-self.limit :] if self.backwards else found[: self.limit]
        return kept, len(found) > self.limit
