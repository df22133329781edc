"""The images that one tool call brings: kept with its result, up to bounds."""

import binascii
from collections.abc import Callable
from typing import Final

from outlast.model.image import (
    MOST_BYTES,
    MOST_BYTES_OF_EXECUTION,
    MOST_BYTES_TOGETHER,
    MOST_IMAGES,
    Image,
    WholeImage,
)

_TYPES: Final = "PNG, JPEG, GIF and WebP are kept"
_LONGEST_BASE64: Final = MOST_BYTES * 4 // 3 + 4


class NotKept(Exception):
    """An image is not kept; the message says why, as the end of a sentence."""


def _nothing() -> int:
    return 0


class CallImages:
    """The images of one call so far, each once."""

    def __init__(self, others: Callable[[], int] = _nothing) -> None:
        """`others` returns the bytes that the execution has kept, and its other calls so far."""
        self._kept: dict[str, WholeImage] = {}
        self.size = 0
        """Bytes of them together."""
        self._others = others

    @property
    def kept(self) -> tuple[WholeImage, ...]:
        """The images, in the order in which they came."""
        return tuple(self._kept.values())

    def keep(self, data: bytes) -> Image:
        """Keep an image and return its reference. Raises NotKept."""
        if len(data) > MOST_BYTES:
            raise NotKept(f"it is larger than {MOST_BYTES} bytes")
        new = WholeImage.of(data)
        if new is None:
            raise NotKept(_TYPES)
        if new.image.id not in self._kept:
            self._require_room(len(data))
            self._kept[new.image.id] = new
            self.size += len(data)
        return new.image

    def keep_base64(self, text: str) -> Image:
        """Keep an image that is written in base64. Raises NotKept."""
        if len(text) > _LONGEST_BASE64:
            raise NotKept(f"it is larger than {MOST_BYTES} bytes")
        try:
            data = binascii.a2b_base64(text, strict_mode=True)
        except ValueError as error:
            raise NotKept("it is not valid base64") from error
        return self.keep(data)

    def _require_room(self, more: int) -> None:
        if len(self._kept) >= MOST_IMAGES:
            raise NotKept(f"only {MOST_IMAGES} images of one result are")
        if self.size + more > MOST_BYTES_TOGETHER:
            raise NotKept(f"only {MOST_BYTES_TOGETHER} bytes of one result are")
        if self._others() + self.size + more > MOST_BYTES_OF_EXECUTION:
            raise NotKept(f"only {MOST_BYTES_OF_EXECUTION} bytes of one execution are")
