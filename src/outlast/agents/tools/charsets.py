"""Charsets of answers: which are read, and how a page says which one is its own."""

import re
from codecs import getincrementaldecoder, lookup
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from typing import Final

CHARSETS: Final = frozenset(
    {
        "utf-8", "utf8", "us-ascii", "ascii", "utf-16", "utf-16le", "utf-16be",
        "iso-8859-1", "latin1", "latin-1", "iso-8859-2", "iso-8859-15",
        "windows-1250", "windows-1251", "windows-1252", "koi8-r",
        "shift_jis", "euc-jp", "gbk", "gb2312", "gb18030", "big5", "euc-kr",
    }
)  # fmt: skip
"""Charsets of responses. Python has more, some of which take seconds for a short text."""
_BEGINNING: Final = 1024
"""Bytes of a page in which its `meta` may name the charset (HTML, 13.2.3.2)."""
_META: Final = re.compile(rb"""<meta[^>]{1,200}charset\s*=\s*["']?([\w-]{1,40})""", re.IGNORECASE)
_MARKS: Final = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


def page_text(body: bytes, charset: str | None, guesses: Callable[[bytes], Iterable[str]]) -> str:
    """Return the beginning of a page, which may end within a character, as text.

    Its byte order mark decides, then `charset`, the header's, then its `meta`, then whether it is
    UTF-8, then `guesses`. What is no character is replaced.
    """
    for mark, of_mark in _MARKS:
        if body.startswith(mark):
            return body.decode(of_mark, "replace")
    meta = (_meant(found[1].decode("ascii")) for found in _META.finditer(body[:_BEGINNING]))
    if (named := _first((charset or "", *meta))) is not None:
        return body.decode(named, "replace")
    try:
        return getincrementaldecoder("utf-8")().decode(body)
    except UnicodeDecodeError:
        return body.decode(_first(guesses(body)) or "utf-8", "replace")


def _meant(name: str) -> str:
    """Return the charset that a `meta` means: one that can be read is not in UTF-16.

    HTML, 13.2.3.2: it means UTF-8 then.
    """
    with suppress(LookupError):
        if lookup(name).name.startswith("utf-16"):
            return "utf-8"
    return name


def _first(names: Iterable[str]) -> str | None:
    """Return the first that names a charset which is read."""
    for name in names:
        with suppress(LookupError):
            if (codec := lookup(name).name) in _codecs():
                return codec
    return None


@cache
def _codecs() -> frozenset[str]:
    return frozenset(lookup(name).name for name in CHARSETS)
