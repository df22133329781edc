"""Ids: a UUIDv7 each, written as a TypeID (`exec_01k…`), read in every spelling.

Sources of the format: the TypeID specification 0.3 (prefix, `_`, 26 characters of Crockford
base32) and RFC 9562, 5.7. Inside Outlast an id is always the TypeID string, in SQL too: it sorts by
time of creation.
"""

import os
import re
from typing import Final
from uuid import UUID

from outlast.model.error import InvalidId

AGENT: Final = "agt"
EXECUTION: Final = "exec"
CONVERSATION: Final = "conv"
MESSAGE: Final = "msg"
TOOL_CALL: Final = "tc"
CHECKPOINT: Final = "cp"
STEP: Final = "step"
MEMORY: Final = "mem"
WEBHOOK: Final = "wh"
EVENT: Final = "evt"
KEY: Final = "key"
WORKSPACE: Final = "ws"
MEMORY_ITEM: Final = "item"
SCHEDULE: Final = "sch"
IMAGE: Final = "img"

_VERSION_MASK: Final = 0xF << 76
_TIME_SHIFT: Final = 80
_LAST_MILLIS: Final = 2**48 - 1
_DIGITS: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = tuple(first + second for first in _DIGITS for second in _DIGITS)
_SUFFIX: Final = re.compile(f"[0-7][{_DIGITS}]{{25}}")
_AS_PYTHON: Final = str.maketrans(_DIGITS, "0123456789abcdefghijklmnopqrstuv")
"""To the digits of `int(text, 32)`."""
_RANDOM: Final = _DIGITS.encode() * 8
"""To any byte a digit."""
_VARIANTS: Final = "89abrstv" * 32
"""To any byte a digit with the two bits of the variant, 10, in the middle."""
_VERSION: Final = "e"
"""The digit of the version, 7, and a bit that is 0."""
_RANDOM_BYTES: Final = 13
"""Of an id."""
_AT_ONCE: Final = 256
_unused: Final[list[str]] = []
"""Random digits of ids to come. `os.urandom` releases the interpreter's lock, which SQLite's
threads then take: called for each id, it makes a run cost up to a tenth more."""
os.register_at_fork(after_in_child=_unused.clear)


class Ids:
    """Makes ids, each of which sorts after the one before."""

    def __init__(self) -> None:
        self._millis = -1
        self._time = ""
        """Its digits."""
        self._beginning = (-1, "")
        """Its first thirty bits, which change every 17 minutes, and their digits."""
        self._count = 0
        """Of ids of this millisecond, in ten bits behind the version; random bits are behind it."""

    def new(self, prefix: str, millis: int) -> str:
        """Return a new id of this time, or of the latest one so far if that is later."""
        count = self._count + 1
        if millis > self._millis or count == len(_PAIRS):
            count = 0
            self._begin(max(millis, self._millis + 1))
        self._count = count  # of threads that make one at once, each has a number in range
        return f"{prefix}_{self._time}{_PAIRS[count]}{_random()}"

    def _begin(self, millis: int) -> None:
        bits, digits = self._beginning
        if bits != millis >> 20:
            bits, digits = self._beginning = millis >> 20, _written(millis >> 20, 30)
        self._time = f"{digits}{_PAIRS[millis >> 10 & 1023]}{_PAIRS[millis & 1023]}{_VERSION}"
        self._millis = millis


def _random() -> str:
    """Return digits that no other id has, whichever thread or process it is made in."""
    try:
        return _unused.pop()
    except IndexError:
        many = os.urandom(_RANDOM_BYTES * _AT_ONCE)
        digits = many.translate(_RANDOM).decode()
        first, *others = [
            _VARIANTS[many[start]] + digits[start + 1 : start + _RANDOM_BYTES]
            for start in range(0, len(many), _RANDOM_BYTES)
        ]
        _unused.extend(others)
        return first


def write(prefix: str, number: int) -> str:
    """Write a number of 128 bits as a TypeID."""
    return f"{prefix}_{_written(number, 130)}"


def _written(number: int, bits: int) -> str:
    """Write a number of at most so many bits, a multiple of ten, with leading zeros."""
    return "".join([_PAIRS[number >> shift & 1023] for shift in range(bits - 10, -1, -10)])


def earliest(prefix: str, millis: int) -> str:
    """Return the id before which every one of an earlier time sorts."""
    return write(prefix, min(max(0, millis), _LAST_MILLIS) << _TIME_SHIFT)


def from_uuid(prefix: str, uuid: UUID) -> str:
    """Write a UUID as a TypeID."""
    return write(prefix, uuid.int)


def parse(prefix: str, text: str) -> str:
    """Read an id in any spelling: TypeID, bare UUID, or the UUID with its version shown as 4.

    Raises InvalidId if the text is none of them, or a TypeID with another prefix.
    """
    if "_" in text:
        written = text.lower()
        start, _, suffix = written.rpartition("_")
        if start != prefix or not _SUFFIX.fullmatch(suffix):
            raise InvalidId(prefix, text)
        return written
    try:
        return from_uuid(prefix, _as_version_7(UUID(text)))
    except ValueError as error:
        raise InvalidId(prefix, text) from error


def to_uuid4(typeid: str) -> UUID:
    """Return the bare UUID of an id with its version nibble set to 4; the other bits stay."""
    number = int(typeid.rpartition("_")[2].translate(_AS_PYTHON), 32)
    return UUID(int=(number & ~_VERSION_MASK) | (4 << 76))


def _as_version_7(uuid: UUID) -> UUID:
    return UUID(int=(uuid.int & ~_VERSION_MASK) | (7 << 76))
