"""What is sent and received, without input or output: texts, paths, responses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from outlast_client.errors import InvalidField


@dataclass(frozen=True, slots=True)
class RawResponse:
    """A response as it came."""

    status: int
    headers: Mapping[str, str]
    """By name, in any case."""
    content: bytes


def json_of(content: bytes) -> dict[str, Any] | None:
    """Return the JSON object in these bytes; None if there is none."""
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def sendable(value: Any) -> Any:
    """Return the same JSON with every text in it spelled in UTF-8, without U+0000.

    A pair of surrogates becomes its character, what else has no place in UTF-8 U+FFFD.
    """
    match value:
        case str():
            return _text(value)
        case dict():
            return {sendable(key): sendable(inner) for key, inner in value.items()}
        case list() | tuple():
            return [sendable(inner) for inner in value]
        case _:
            return value


def _text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace("\0", "\ufffd") if "\0" in text else text


def segment(text: str) -> str:
    """Return the text as one segment of a path."""
    return quote(_text(text), safe="")


def require_ascii(text: str, what: str, param: str) -> None:
    """Raise InvalidField for a header that is not printable ASCII."""
    if not text.isascii() or not text.isprintable():
        raise InvalidField(f"{what} contains a character that is not ASCII.", param=param)
