"""The elements of a page as the model sees them: Playwright's ARIA snapshot, and its references.

A reference is valid for one loaded page. When a page was closed in between and is loaded again, an
element is found by role and name, if as many elements have both as before.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_LINE: Final = re.compile(
    r"^ *- (?P<quote>'?)(?P<role>[a-z]+)(?: (?P<name>\"(?:\\.|[^\"\\])*\"|/(?:\\.|[^/\\])*/))?"
    r"(?P<rest>[^\n]*)$",
    re.MULTILINE,
)
_REFERENCE: Final = re.compile(r"\[ref=(\w+)\]")


@dataclass(frozen=True, slots=True)
class Element:
    """An element with a reference."""

    role: str
    name: str
    """As written in the snapshot, with its quotes; empty: it has none."""
    nth: int
    """Its place among those with the same role and name, from 0."""
    count: int
    """How many of these the page has."""

    def __str__(self) -> str:
        return f"{self.role} {self.name}".strip()


def elements_of(snapshot: str) -> dict[str, Element]:
    """Return the elements of a snapshot by reference."""
    found = list(_lines(snapshot))
    counts, seen = Counter(key for key, _ in found), Counter[tuple[str, str]]()
    elements: dict[str, Element] = {}
    for key, reference in found:
        elements[reference] = Element(*key, seen[key], counts[key])
        seen[key] += 1
    return elements


def _lines(snapshot: str) -> Iterator[tuple[tuple[str, str], str]]:
    for line in _LINE.finditer(snapshot):
        if (reference := _REFERENCE.search(line["rest"])) is not None:
            name = line["name"] or ""
            yield (line["role"], name.replace("''", "'") if line["quote"] else name), reference[1]


def found_again(element: Element, now: Mapping[str, Element]) -> str | None:
    """Return the reference that an element has now; None if it is not certain."""
    return next((reference for reference, other in now.items() if other == element), None)


def to_json(elements: Mapping[str, Element]) -> dict[str, list[Any]]:
    """Return elements as JSON."""
    return {key: [one.role, one.name, one.nth, one.count] for key, one in elements.items()}


def from_json(given: Mapping[str, list[Any]]) -> dict[str, Element]:
    """Return elements that `to_json` has written."""
    return {key: Element(*one) for key, one in given.items()}
