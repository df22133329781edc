"""Regular expressions on text from outside, in bounded time.

Python's `re` backtracks: nested repeats may take exponential time, and several repeats in a row
polynomial time. So the former are refused, and the latter search only the beginning of a text.
"""

import re
import sys
from dataclasses import dataclass
from re import _constants as op  # type: ignore[attr-defined, unused-ignore]  # the library's own
from re import _parser as parser  # type: ignore[attr-defined, unused-ignore]
from typing import Any, Final

SEEN: Final = (sys.maxsize, 10_000, 500, 150, 80, 50)
"""Characters searched, by number of repeats; expressions with more are refused."""
_FEW: Final = 8
"""Bound up to which a repeat does not count."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A regular expression that takes bounded time on any text."""

    compiled: re.Pattern[str]
    most: int
    """Characters of a text that are searched."""

    @classmethod
    def read(cls, text: Any) -> "Expression":
        """Compile an expression. Raises ValueError if it is invalid, or may take unbounded time."""
        if not isinstance(text, str):
            raise ValueError("not a string")  # noqa: TRY004 - pydantic reads ValueError
        try:
            compiled = re.compile(text, re.IGNORECASE)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        repeats = _repeats(parser.parse(text, re.IGNORECASE), within=False)
        if repeats >= len(SEEN):
            raise ValueError(f"more than {len(SEEN) - 1} repeats may take unbounded time")
        return cls(compiled, SEEN[repeats])

    def search(self, text: str) -> re.Match[str] | None:
        """Return the first match in the beginning of the text."""
        return self.compiled.search(text, 0, self.most)


def _repeats(pattern: Any, *, within: bool) -> int:
    """Count repeats without a small bound. Raises ValueError if they are nested.

    `within`: the pattern is part of a repeat.
    """
    count = 0
    for kind, given in pattern:
        if kind in {op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT}:
            least, most, inner = given
            varies = most > _FEW or (within and least != most)
            if varies and within:
                raise ValueError(
                    "a repeat within a repeat may take unbounded time: write it without"
                )
            count += varies + _repeats(inner, within=within or most > _FEW)
            continue
        if kind is op.BRANCH and within and not _differ(given[1]):
            raise ValueError("repeated alternatives that begin alike may take unbounded time")
        count += sum(_repeats(inner, within=within) for inner in _inside(kind, given))
    return count


def _inside(kind: Any, given: Any) -> list[Any]:
    """Return the subpatterns of a part."""
    if kind is op.BRANCH:
        return list(given[1])
    if kind is op.GROUPREF_EXISTS:
        return [inner for inner in given[1:] if inner is not None]
    if kind in {op.SUBPATTERN, op.ASSERT, op.ASSERT_NOT}:
        return [given[-1]]
    return [given] if kind is op.ATOMIC_GROUP else []


def _differ(alternatives: list[Any]) -> bool:
    """Whether each begins with a different letter."""
    first = [alternative[0] if len(alternative) else None for alternative in alternatives]
    letters = {chr(part[1]).lower() for part in first if part and part[0] is op.LITERAL}
    return len(letters) == len(alternatives)
