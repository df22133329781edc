"""A tool's result as MCP writes it, and as the model reads it.

Structured content is the result if there is any, else the text. An image is kept beside the result,
which has its reference. What else is no text is described: in base64 it would only fill the model's
context.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import mcp_types
import orjson

from outlast.agents.call_images import CallImages, NotKept
from outlast.agents.mcp.server import Target
from outlast.model.error import ToolFailed
from outlast.model.text import shortened

_SHOWN: Final = 200
_ERROR_BYTES: Final = 8_192


def result_of(
    target: Target, found: mcp_types.CallToolResult, most: int, images: CallImages
) -> Any:
    """Return a call's result as JSON; its images are added to `images`.

    Raises ToolFailed for the tool's own error, and for a result of more than `most` bytes.
    """
    parts = [_shown(block, None if found.is_error else images) for block in found.content]
    if found.is_error:
        text = "\n".join(parts).strip() or "The tool failed and gave no reason."
        raise ToolFailed(shortened(text, _ERROR_BYTES), cause="The tool's own error.")
    result = _value(found, parts)
    try:
        size = len(orjson.dumps(result))
    except orjson.JSONEncodeError:
        return result  # lone surrogates: measured when they have been replaced
    if size > most:
        raise ToolFailed(f"The result of {target.name} is larger than {most} bytes.")
    return result


def _value(found: mcp_types.CallToolResult, parts: Sequence[str]) -> Any:
    structured = found.structured_content
    if structured is None:
        return parts[0] if len(parts) == 1 else list(parts) or None
    media = {
        base64: shown
        for block, shown in zip(found.content, parts, strict=True)
        if (base64 := _base64(block)) is not None
    }
    if not media:
        return structured
    described = _described(structured, media)
    return described if described != structured else {**_object(structured), "content": [*parts]}


def _object(structured: Any) -> dict[str, Any]:
    return structured if isinstance(structured, dict) else {"result": structured}


def _base64(block: mcp_types.ContentBlock) -> str | None:
    """Return the data of a block that is no text; None for other blocks."""
    match block:
        case mcp_types.ImageContent() | mcp_types.AudioContent():
            return block.data
        case mcp_types.EmbeddedResource(resource=mcp_types.BlobResourceContents(blob=blob)):
            return blob
        case _:
            return None


def _described(value: Any, media: Mapping[str, str]) -> Any:
    """Return structured content with descriptions in place of the data of media."""
    match value:
        case str():
            return media.get(value, value)
        case dict():
            return {key: _described(one, media) for key, one in value.items()}
        case list():
            return [_described(one, media) for one in value]
        case _:
            return value


def _shown(block: mcp_types.ContentBlock, images: CallImages | None) -> str:
    """Return a block as text; one that is an image is kept where `images` are."""
    match block:
        case mcp_types.TextContent(text=text):
            return text
        case mcp_types.EmbeddedResource(resource=mcp_types.TextResourceContents(text=text)):
            return text
        case mcp_types.ImageContent() | mcp_types.AudioContent():
            return _media(block.type, block.mime_type, block.data, images)
        case mcp_types.EmbeddedResource(resource=mcp_types.BlobResourceContents() as resource):
            kind = resource.mime_type or str(resource.uri)
            return _media("file", kind, resource.blob, images)
        case mcp_types.ResourceLink():
            kind = f", {block.mime_type}" if block.mime_type else ""
            return f"[link: {block.name[:_SHOWN]}, {str(block.uri)[:_SHOWN]}{kind[:_SHOWN]}]"
        case _:
            return f"[{type(block).__name__}, not shown]"


def _media(what: str, kind: str, base64: str, images: CallImages | None) -> str:
    """Keep an image, and return what stands for it in text; describe what is none."""
    because = "not shown"
    if images is not None and (what == "image" or kind.startswith("image/")):
        try:
            return images.keep_base64(base64).placeholder
        except NotKept as error:
            because = f"not kept: {error}"
    size = len(base64) * 3 // 4 - base64[-2:].count("=")
    return f"[{what}: {kind[:_SHOWN]}, {size} bytes, {because}]"
