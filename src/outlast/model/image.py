"""Images that tools bring with their results: what is kept of one, and under which id.

The log and the steps hold references; the bytes are in a table of their own (`store.blobs`).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from outlast.model import ids
from outlast.model.error import NotFound

MOST_BYTES: Final = 3_932_160
"""Maximum bytes of an image: 5 MiB in base64, which is what Anthropic accepts."""
MOST_IMAGES: Final = 20
"""Maximum images of one result."""
MOST_BYTES_TOGETHER: Final = 16_777_216
"""Maximum bytes of the images of one result."""
MOST_BYTES_OF_EXECUTION: Final = 268_435_456
"""Bytes of images after which an execution keeps no more."""
MOST_SHOWN: Final = 4
"""Maximum images that a model is shown in one request: the newest."""
_DIGEST_BYTES: Final = 16
_BEGINNINGS: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_RIFF, _WEBP, _WEBP_AT = b"RIFF", b"WEBP", 8


class ImageNotFound(NotFound):
    """There is no such image of this execution."""

    code = "image_not_found"


@dataclass(frozen=True, slots=True)
class Image:
    """The reference of an image."""

    id: str
    """`img_…`: the first 128 bits of the SHA-256 of its bytes."""
    media_type: str
    """As its first bytes tell, whatever the tool called it."""
    size: int
    """Bytes."""

    @property
    def placeholder(self) -> str:
        """What stands for it in text."""
        return f"[image {self.id}: {self.media_type}, {self.size} bytes]"


@dataclass(frozen=True, slots=True)
class WholeImage:
    """An image with its bytes."""

    image: Image
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, data: bytes) -> "WholeImage | None":
        """Return an image of these bytes; None if they are none of a known type."""
        media_type = media_type_of(data)
        if media_type is None:
            return None
        digest = hashlib.sha256(data).digest()[:_DIGEST_BYTES]
        return cls(Image(ids.write(ids.IMAGE, int.from_bytes(digest)), media_type, len(data)), data)


def media_type_of(data: bytes) -> str | None:
    """Return the type that the first bytes tell: PNG, JPEG, GIF or WebP; None for any other."""
    if data.startswith(_RIFF) and data.startswith(_WEBP, _WEBP_AT):
        return "image/webp"
    return next((name for beginning, name in _BEGINNINGS if data.startswith(beginning)), None)


def images_from(written: Iterable[dict[str, Any]]) -> tuple[Image, ...]:
    """Return references that were stored as JSON of their fields."""
    return tuple(Image(**one) for one in written)
