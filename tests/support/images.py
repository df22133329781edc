"""Small real images, and tools that bring them."""

import struct
import zlib
from collections.abc import Callable
from typing import Any

from outlast.agents.call_images import NotKept
from tests.support.tools import FakeTools


def png(seed: int = 0, side: int = 8, text: bytes = b"") -> bytes:
    """A square of one colour, different for each seed; with a text inside."""
    colour = bytes((seed * 70 % 256, seed * 130 % 256, 90))
    rows = b"".join(b"\0" + colour * side for _ in range(side))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    if text:
        chunks.insert(1, (b"tEXt", b"Comment\0" + text))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checked = kind + data
    return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))


class Drawing(FakeTools):
    """Tools; `draw` brings the image of the bytes that `draws` returns for its arguments."""

    def __init__(self, draws: Callable[[dict[str, Any]], bytes], **functions: Any) -> None:
        def draw(arguments: dict[str, Any]) -> str:
            assert self.context is not None
            try:
                return self.context.images.keep(draws(arguments)).placeholder
            except NotKept as error:
                return f"not kept: {error}"

        super().__init__(draw=draw, **functions)
