"""Integers beyond 64 bits: a JSON parser would read them as floats and change their value."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG: Final = b"0" * 19
"""An integer with fewer digits fits 64 bits."""
_LEAST, _MOST = -(2**63), 2**64 - 1
"""Range of integers that are read exactly."""
_LONGEST: Final = 20
"""Digits and sign of the longest of them."""
_SHOWN: Final = 40
"""Digits shown in an error message."""


@dataclass(frozen=True, slots=True)
class Beyond:
    """An integer beyond 64 bits, and its path."""

    path: str
    """Names and indexes separated by dots; empty if the number is the whole document."""
    digits: str

    @property
    def shown(self) -> str:
        """The number for an error message, shortened if long."""
        return self.digits if len(self.digits) <= _SHOWN else self.digits[:_SHOWN] + "…"


def beyond_64_bits(data: bytes) -> Beyond | None:
    """Return the first integer of this JSON that is beyond 64 bits.

    None if there is none or the data is not JSON. JSON without a long run of digits, which is
    almost all, is not parsed.
    """
    if _LONG not in data.translate(_DIGITS):
        return None
    try:
        return _find(json.loads(data.decode("utf-8", "replace"), parse_int=_whole), ())
    except (ValueError, RecursionError):
        return None


def number_of(text: str, *, digits: int = 18) -> int | None:
    """Return the number that ASCII digits write, up to this many; None if they are something else.

    Python's `isdigit` and `int` do not agree on other digits: `²` is one, and no number.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else None


class _Digits(str):
    """The digits of an integer beyond 64 bits."""

    __slots__ = ()


def _whole(digits: str) -> int | _Digits:
    if len(digits) <= _LONGEST and _LEAST <= int(digits) <= _MOST:
        return int(digits)
    return _Digits(digits)


def _find(value: Any, path: tuple[str, ...]) -> Beyond | None:
    match value:
        case _Digits():
            return Beyond(".".join(path), str(value))
        case dict():
            items: Iterable[tuple[str, Any]] = value.items()
        case list():
            items = ((str(index), item) for index, item in enumerate(value))
        case _:
            return None
    found = (_find(item, (*path, name)) for name, item in items)
    return next((one for one in found if one is not None), None)
