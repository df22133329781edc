"""Images that tools have brought, as rooms show them: references, and the answer that is one."""

from collections.abc import Iterable
from typing import Annotated, Final, Literal, TypeAlias, cast

from pydantic import Field
from starlette.responses import Response
from typing_extensions import TypedDict

from outlast.model import image as core
from outlast.model.image import WholeImage

MediaType: TypeAlias = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, max-age=3600",
}
"""Nothing in it is run. Its bytes may be deleted, though an id never names others: an hour."""


class Image(TypedDict):
    """An image that a tool call has brought."""

    id: Annotated[
        str,
        Field(
            description="Its bytes are at `/v1/executions/{executionId}/images/{id}`.",
            examples=["img_6n7ryvkr4v1j4c2z0h0c9d3q2m"],
        ),
    ]
    mediaType: MediaType
    bytes: int


def images_of(found: Iterable[core.Image]) -> list[Image]:
    """Return the references of images."""
    return [
        {"id": one.id, "mediaType": cast("MediaType", one.media_type), "bytes": one.size}
        for one in found
    ]


def image_response(found: WholeImage) -> Response:
    """Return an image as an answer."""
    return Response(found.data, headers=_HEADERS, media_type=found.image.media_type)
