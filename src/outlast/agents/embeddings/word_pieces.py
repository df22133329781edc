"""Text to the tokens of an uncased BERT: words, punctuation apart, cut into pieces of a vocabulary.

As the tokenizer of https://github.com/google-research/bert does it. Imports nothing but the
standard library: the child process that uses it starts quickly.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

_LONGEST_WORD: Final = 100
"""Characters beyond which a word is unknown."""
_FIRST_CHARACTERS: Final = 8
"""Characters read for each token that is wanted: a bound for long texts, never reached by words."""
_UNSEEN: Final = frozenset({"Cc", "Cf", "Co", "Cs"})
_HAN: Final = (
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0x2F800, 0x2FA1F),
)


class WordPieces:
    """A vocabulary of pieces."""

    def __init__(self, lines: Iterable[str]) -> None:
        """`lines` of `vocab.txt`: the number of a piece is that of its line, from 0."""
        self._numbers = {line.rstrip("\n"): number for number, line in enumerate(lines)}
        self._begin, self._end = self._numbers["[CLS]"], self._numbers["[SEP]"]
        self._unknown = self._numbers["[UNK]"]

    def numbers(self, text: str, most: int) -> list[int]:
        """Return the text's tokens between those of begin and end: the first `most` of all."""
        found: list[int] = []
        for word in _words(text[: most * _FIRST_CHARACTERS]):
            found += self._pieces(word)
            if len(found) >= most - 2:
                break
        return [self._begin, *found[: most - 2], self._end]

    def _pieces(self, word: str) -> list[int]:
        """Return the longest pieces that make the word, from its begin."""
        if len(word) > _LONGEST_WORD:
            return [self._unknown]
        found: list[int] = []
        at = 0
        while at < len(word):
            for end in range(len(word), at, -1):
                number = self._numbers.get(("##" if at else "") + word[at:end])
                if number is not None:
                    break
            else:
                return [self._unknown]
            found.append(number)
            at = end
        return found


def _words(text: str) -> Iterator[str]:
    """Yield words without case and accents; each punctuation mark and han character is one."""
    for word in "".join(map(_spaced, text)).lower().split():
        bare = "".join(c for c in unicodedata.normalize("NFD", word) if not _is_accent(c))
        yield from _cut(bare)


def _cut(word: str) -> Iterator[str]:
    """Yield what punctuation separates, and the punctuation."""
    begun = ""
    for char in word:
        if _is_punctuation(char):
            if begun:
                yield begun
            yield char
            begun = ""
        else:
            begun += char
    if begun:
        yield begun


def _spaced(char: str) -> str:
    """Return what stands for a character: nothing, a space, or itself between spaces."""
    if char in "\t\n\r" or unicodedata.category(char) == "Zs":
        return " "
    if char in "\x00\ufffd" or unicodedata.category(char) in _UNSEEN:
        return ""
    code = ord(char)
    return f" {char} " if any(low <= code <= high for low, high in _HAN) else char


def _is_accent(char: str) -> bool:
    return unicodedata.category(char) == "Mn"


def _is_punctuation(char: str) -> bool:
    """Whether it separates: also ASCII's symbols, which Unicode does not call punctuation."""
    if char.isascii():
        return char.isprintable() and not char.isalnum() and char != " "
    return unicodedata.category(char).startswith("P")
