"""Server-sent events, read: bytes as they come in, the data of each event out.

Source of the format: WHATWG HTML, "Server-sent events". Only `data` matters here; lines end with LF
or CRLF. The usual event, one line `data: …` and an empty line, takes the short way.
"""

_PREFIX = b"data: "


class EventData:
    """Cuts a byte stream into the data of its events."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    @property
    def held(self) -> int:
        """Bytes of an event that has not ended yet."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The data of the events that these bytes complete."""
        data = self._rest + data
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        *blocks, self._rest = data.split(b"\n\n")
        return [found for block in blocks if (found := _data(block)) is not None]

    def finish(self) -> list[bytes]:
        """The data of a last event that no empty line ends."""
        block, self._rest = self._rest, b""
        found = _data(block.removesuffix(b"\r"))
        return [] if found is None else [found]


def _data(block: bytes) -> bytes | None:
    if b"\n" not in block and block.startswith(_PREFIX):
        return block[len(_PREFIX) :]
    lines = [
        line[5:].removeprefix(b" ") for line in block.split(b"\n") if line.startswith(b"data:")
    ]
    return b"\n".join(lines) if lines else None
