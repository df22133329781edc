"""Searching memory stores by meaning: modes, what is embedded, and how two rankings become one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from outlast.model.error import InvalidField
from outlast.model.memory import MemoryItem

MAX_EMBEDDED: Final = 6000
"""Characters of an item's key and content that are embedded: below the 8,192 tokens of OpenAI's
models for text in letters."""
MAX_MODEL_NAME: Final = 255
RANKED: Final = 50
"""Items of each ranking that a hybrid search joins; at least as many as it returns."""
_K: Final = 60
"""Damps the difference between the first places; the value of the paper."""


class SearchMode(StrEnum):
    """How items are found."""

    TEXT = "text"
    """All words of the query; the newest first."""
    SEMANTIC = "semantic"
    """The nearest by the cosine of their vectors."""
    HYBRID = "hybrid"
    """Both, joined by reciprocal rank fusion."""


@dataclass(frozen=True, slots=True)
class FoundItem:
    """An item that a search has found."""

    item: MemoryItem
    by: tuple[SearchMode, ...]
    """The searches that found it: text, semantic or both."""
    similarity: float | None = None
    """Cosine of its vector with the query's, -1 to 1; None if only its words were found."""


@dataclass(frozen=True, slots=True)
class Found:
    """Result of a search."""

    items: tuple[FoundItem, ...]
    mode: SearchMode
    """The mode that was used."""
    warning: str | None = None
    """Why a hybrid search found by words alone."""


def embedded_text(key: str, content: str) -> str:
    """Return what is embedded of an item: its key and content, as far as they count."""
    return f"{key}\n{content}"[:MAX_EMBEDDED]


def fused(rankings: Iterable[Sequence[str]]) -> dict[str, float]:
    """Return the score of each name in one or more rankings: the sum of 1 / (60 + its place).

    Reciprocal rank fusion: Cormack, Clarke, Buettcher, SIGIR 2009,
    https://doi.org/10.1145/1571941.1572114
    """
    scores: dict[str, float] = {}
    for ranking in rankings:
        for place, name in enumerate(ranking, 1):
            scores[name] = scores.get(name, 0.0) + 1 / (_K + place)
    return scores


def checked_mode(text: str | None, *, param: str = "mode") -> SearchMode | None:
    """Return the mode; None if none is given. Raises InvalidField."""
    if text is None:
        return None
    try:
        return SearchMode(text)
    except ValueError:
        names = ", ".join(SearchMode)
        raise InvalidField(f"{param}: must be one of {names}.", param=param) from None
