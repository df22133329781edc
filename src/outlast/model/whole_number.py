"""Whole numbers beyond 64 bits: read as floats, they would be other numbers than were written."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG: Final = b"0" * 19
"""A whole number with fewer digits has less than 64 bits."""
_LEAST, _MOST = -(2**63), 2**64 - 1
"""Whole numbers that are read as they were written."""
_LONGEST: Final = 20
"""Digits, or digits and sign, of the longest of them."""
_SHOWN: Final = 40
"""Digits that a complaint repeats."""


@dataclass(frozen=True, slots=True)
class Beyond:
    """A whole number beyond 64 bits, and where it stands."""

    path: str
    """Names and indexes with dots between; empty where the number is all there is."""
    digits: str

    @property
    def shown(self) -> str:
        """The number for a complaint, cut where it is long."""
        return self.digits if len(self.digits) <= _SHOWN else self.digits[:_SHOWN] + "…"


def beyond_64_bits(data: bytes) -> Beyond | None:
    """Return the first whole number of this JSON that is beyond 64 bits.

    None if there is none, and where the data is no JSON. JSON without a long run of digits, which
    is almost all, is not read.
    """
    if _LONG not in data.translate(_DIGITS):
        return None
    try:
        return _find(json.loads(data.decode("utf-8", "replace"), parse_int=_whole), ())
    except (ValueError, RecursionError):
        return None


class _Digits(str):
    """The digits of a whole number beyond 64 bits."""

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
