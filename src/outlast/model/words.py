"""The words of a text, for search: the same for what is stored and for what is searched.

One analysis serves both databases, so that both find the same items (see
docs/decisions/memory-stores.md). Words are compared without case, accents and compatibility forms.
Scripts that do not separate words (Chinese, Japanese, Thai, ...) and Korean, which joins its
particles to them, are cut into pairs of characters; a symbol, such as an emoji, is a word.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Final

LONGEST: Final = 64
"""Characters of a word that count; longer words are equal if these are."""
_ASCII: Final = re.compile(r"[a-z0-9]+")
_JOINED: Final = (
    r"\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u3105-\u318f"
    r"\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    r"\U00020000-\U0003ffff"
)
"""Thai, Lao, Myanmar, Khmer, kana, bopomofo, hangul and han characters."""
_KEPT_MARKS: Final = frozenset({0, 7, 8, 9})
"""Combining classes of marks that make another letter: vowel signs, nukta, voiced kana, virama."""
_UNKNOWN: Final = "\ufffd"
"""Stands for what could not be stored."""
_FORMAT: Final = frozenset("\u00ad\u0640\u200b\u200c\u200d\u200e\u200f\u2060\ufe0e\ufe0f\ufeff")
"""Characters within a word that are not seen: soft hyphen, tatweel, joiners, variation."""


def words_of(text: str) -> set[str]:
    """Return the words by which a text is found; each pair and each character of joined scripts."""
    found: set[str] = set()
    for word in _split(text):
        for run in _runs().findall(word) if not word.isascii() else (word,):
            if _is_joined(run):
                found.update(run)
                found.update(_pairs(run))
            else:
                found.add(run[:LONGEST])
    return found


def words_to_find(text: str) -> list[str]:
    """Return the words that a text must have to be found by this query, in their order."""
    found: dict[str, None] = {}
    for word in _split(text):
        for run in _runs().findall(word) if not word.isascii() else (word,):
            if _is_joined(run) and len(run) > 1:
                found.update(dict.fromkeys(_pairs(run)))
            else:
                found[run[:LONGEST]] = None
    return list(found)


def _split(text: str) -> list[str]:
    """Return the text's words, folded."""
    if text.isascii():
        return _ASCII.findall(text.lower())
    folded = unicodedata.normalize("NFKD", text).casefold()
    folded = unicodedata.normalize("NFKD", folded)  # casefold may compose
    table = {ord(char): _kept(char) for char in set(folded)}
    return unicodedata.normalize("NFC", folded.translate(table)).split()


def _kept(char: str) -> str:
    """Return what stands for a character: itself, nothing, or a space where a word ends."""
    category = unicodedata.category(char)
    match category[0]:
        case "L" | "N":
            return "" if char in _FORMAT else char
        case "M":
            kept = category != "Me" and unicodedata.combining(char) in _KEPT_MARKS
            return char if kept and char not in _FORMAT else ""
        case "S" if not char.isascii() and category != "Sk" and char != _UNKNOWN:
            return f" {char} "
        case _:
            return "" if char in _FORMAT else " "


@cache
def _runs() -> re.Pattern[str]:
    """Return the runs of either kind; ASCII does without, and compiling them is slow."""
    return re.compile(f"[{_JOINED}]+|[^{_JOINED}]+")


@cache
def _one_joined() -> re.Pattern[str]:
    return re.compile(f"[{_JOINED}]")


def _is_joined(run: str) -> bool:
    return not run.isascii() and _one_joined().match(run) is not None


def _pairs(run: str) -> Iterator[str]:
    return (run[at : at + 2] for at in range(len(run) - 1))
