"""Parses server-sent events: bytes in, the data of each event out.

Source of the format: WHATWG HTML, 9.2.6, "Interpreting an event stream". Lines end with LF, CR or
CRLF; a first BOM and comments are skipped, several `data` lines are one text. Beyond the standard,
an event without its empty line at the end of the stream is returned too. The usual event, one line
`data: …` and an empty line, has a fast path.
"""

from typing import Final

_PREFIX: Final = b"data: "
_BOM: Final = b"\xef\xbb\xbf"


class ErrorData(bytes):
    """The data of an event of the type `error`."""

    __slots__ = ()


class EventData:
    """Splits a byte stream into the data of its events."""

    __slots__ = ("_begun", "_crlf", "_held_cr", "_rest", "_skip_lf")

    def __init__(self) -> None:
        self._rest = bytearray()
        """Lines of an incomplete event, with LF ends; at the start, part of a BOM."""
        self._begun = False
        self._crlf = False
        """Whether lines of this stream end with CRLF."""
        self._held_cr = False
        """A CR at the end of the input whose LF is expected."""
        self._skip_lf = False
        """The last CR ended a line; an LF after it belongs to it."""

    @property
    def held(self) -> int:
        """Bytes of an incomplete event."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of the events that these bytes complete."""
        if not self._begun:
            data = self._begin(data)
        if self._held_cr or self._skip_lf or b"\r" in data:
            data = self._with_lf(data)
        rest = self._rest
        if rest:
            seen = len(rest) - 1
            rest += data
            if rest.find(b"\n\n", seen) < 0:
                return []
            data = bytes(rest)
        *blocks, last = data.split(b"\n\n")
        self._rest = bytearray(last)
        return [found for block in blocks if (found := _data(block)) is not None]

    def finish(self) -> list[bytes]:
        """Return the data of a last event without an empty line."""
        block, self._rest = bytes(self._rest), bytearray()
        found = _data(block) if self._begun else None
        return [] if found is None else [found]

    def _begin(self, data: bytes) -> bytes:
        """Strip a BOM; return nothing while the input may be the beginning of one."""
        data = bytes(self._rest) + data
        self._rest = bytearray()
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._rest = bytearray(data)
            return b""
        self._begun = True
        return data.removeprefix(_BOM)

    def _with_lf(self, data: bytes) -> bytes:
        """Return the input with LF line ends."""
        if not data:
            return data
        if self._skip_lf and data.startswith(b"\n"):
            data, self._crlf = data[1:], True
        self._skip_lf = False
        if self._held_cr:
            data, self._held_cr = b"\r" + data, False
        self._crlf = self._crlf or b"\r\n" in data
        if data.endswith(b"\r"):
            if self._crlf:
                data, self._held_cr = data[:-1], True
            else:
                self._skip_lf = True
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data(block: bytes) -> bytes | None:
    if b"\n" not in block and block.startswith(_PREFIX):
        return block[len(_PREFIX) :]
    lines: list[bytes] = []
    kind = b""
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
        elif name == b"event":
            kind = value.removeprefix(b" ")
    if not lines:
        return None
    data = b"\n".join(lines)
    return ErrorData(data) if kind == b"error" else data
