"""An image is what its bytes say, and its id is their digest."""

import hashlib

import pytest

from outlast.agents.call_images import CallImages, NotKept
from outlast.model.ids import parse
from outlast.model.image import (
    MOST_BYTES,
    MOST_BYTES_OF_EXECUTION,
    MOST_IMAGES,
    WholeImage,
    media_type_of,
)
from tests.support.images import png


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (png(), "image/png"),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", "image/jpeg"),
        (b"GIF89a\1\0\1\0", "image/gif"),
        (b"GIF87a\1\0\1\0", "image/gif"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\x24\0\0\0WAVEfmt ", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        (b"<!doctype html><script>", None),
        (b"\x89PNG", None),
        (b"", None),
    ],
)
def test_the_first_bytes_tell_the_type(data: bytes, media_type: str | None) -> None:
    assert media_type_of(data) == media_type


def test_an_id_is_the_digest_of_the_bytes() -> None:
    one, again, other = (WholeImage.of(data) for data in (png(1), png(1), png(2)))
    assert one is not None
    assert again is not None
    assert other is not None
    assert one == again
    assert one.image.id != other.image.id
    assert parse("img", one.image.id) == one.image.id
    digest = hashlib.sha256(png(1)).digest()
    assert other.image.placeholder == f"[image {other.image.id}: image/png, {len(png(2))} bytes]"
    assert digest[:4].hex() not in repr(one)
    assert repr(png(1))[2:20] not in repr(one), "no representation shows bytes"


def test_a_call_keeps_images_up_to_its_bounds_and_each_once() -> None:
    images = CallImages()
    kept = [images.keep(png(1)), images.keep(png(1))]
    assert kept[0] == kept[1]
    assert len(images.kept) == 1
    large = png(2) + bytes(MOST_BYTES)
    with pytest.raises(NotKept, match="larger than"):
        images.keep(large)
    with pytest.raises(NotKept, match="PNG, JPEG"):
        images.keep(b"<svg/>")
    for text in ("not base64!", "aGVsbG8"):
        with pytest.raises(NotKept, match="not valid base64"):
            images.keep_base64(text)
    for seed in range(MOST_IMAGES + 5):
        if len(images.kept) < MOST_IMAGES:
            images.keep(png(seed))
    with pytest.raises(NotKept, match="only 20 images"):
        images.keep(png(99))
    assert images.keep(png(1)) == kept[0], "one that is there needs no room"


def test_an_execution_keeps_images_up_to_their_size_together() -> None:
    images = CallImages(lambda: MOST_BYTES_OF_EXECUTION - len(png(1)))
    images.keep(png(1))
    with pytest.raises(NotKept, match="only 268435456 bytes of one execution"):
        images.keep(png(2))


def test_a_call_keeps_images_up_to_their_size_together() -> None:
    images = CallImages()
    for seed in range(4):
        images.keep(png(seed) + bytes(MOST_BYTES - 1000))
    with pytest.raises(NotKept, match="only 16777216 bytes"):
        images.keep(png(5) + bytes(MOST_BYTES - 1000))
