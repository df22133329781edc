"""Request bodies: bounded, parsed as JSON regardless of Content-Type; errors name the field."""

import codecs
from typing import Any, Final, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from outlast.model.error import (
    BodyTooLarge,
    InvalidField,
    InvalidFilter,
    InvalidRequest,
    MissingField,
    UnsupportedEncoding,
)
from outlast.model.explain import explain
from outlast.model.json_depth import DEEPEST, is_too_deep
from outlast.model.whole_number import beyond_64_bits

M = TypeVar("M", bound=BaseModel)

_PLAIN: Final = ("", "identity")
"""Content encodings that leave the body as it is."""
_COMPRESSED: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x78\x9c": "deflate"}
"""First bytes of compressed bodies; no JSON begins so."""
_WIDE: Final = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


async def read(request: Request, limit: int) -> bytes:
    """Return the body's bytes.

    Raises BodyTooLarge, UnsupportedEncoding as early as possible, InvalidRequest if the client has
    disconnected.
    """
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding not in _PLAIN:
        raise _compressed(encoding)
    claimed = request.headers.get("content-length", "")
    if claimed.isascii() and claimed.isdigit() and int(claimed[:20]) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise InvalidRequest("The client left before its request was complete.") from error
    return b"".join(chunks)


def _compressed(encoding: str) -> UnsupportedEncoding:
    return UnsupportedEncoding(
        f"The body's content encoding is {encoding[:40]!r}; send plain JSON, uncompressed.",
        param="Content-Encoding",
    )


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request's body is larger than {limit} bytes.")


def json_object(content: bytes) -> dict[str, Any]:
    """Parse a JSON object; an empty body is an empty object, a byte order mark is skipped.

    Raises InvalidRequest (not JSON, not UTF-8, too deep, not an object, an integer beyond 64 bits),
    InvalidField (a NUL), UnsupportedEncoding.
    """
    content = content.removeprefix(codecs.BOM_UTF8)
    if not content:
        return {}
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _not_json(content, error) from error
    if content.count(b"{") + content.count(b"[") > DEEPEST:
        _require_shallow(value)
    if b"\\u0000" in content:
        _check_nul(value, ())
    _check_numbers(content)
    if not isinstance(value, dict):
        raise InvalidRequest("The body is not a JSON object.", param="body")
    return value


def _not_json(
    content: bytes, error: orjson.JSONDecodeError
) -> InvalidRequest | UnsupportedEncoding:
    for start, encoding in _COMPRESSED.items():
        if content.startswith(start):
            return _compressed(encoding)
    if content.startswith(_WIDE):
        return InvalidRequest("The body is UTF-16 or UTF-32; send JSON in UTF-8.", param="body")
    _check_numbers(content)  # to orjson, one of 310 digits is no JSON
    return InvalidRequest(f"The body is not JSON: {error}", param="body")


def _check_numbers(content: bytes) -> None:
    """Refuse integers beyond 64 bits: read as floats, they would change their value."""
    if (found := beyond_64_bits(content)) is not None:
        raise InvalidRequest(
            f"The number {found.shown} has more than 64 bits; send it as text.",
            param=found.path or "body",
        )


def _require_shallow(value: Any) -> None:
    if is_too_deep(value):
        raise InvalidRequest(f"The body is nested deeper than {DEEPEST} levels.", param="body")


def _check_nul(value: Any, path: tuple[str, ...]) -> None:
    """Refuse text with a NUL character: it is valid JSON, but no database stores it."""
    match value:
        case str():
            if "\0" in value:
                raise InvalidField("A text contains a NUL character.", param=".".join(path))
        case dict():
            for name, item in value.items():
                inner = (*path, name.replace("\0", "\\u0000"))
                _check_nul(name, inner)
                _check_nul(item, inner)
        case list():
            for index, item in enumerate(value):
                _check_nul(item, (*path, str(index)))
        case _:
            pass


def body_as(model: type[M], fields: dict[str, Any]) -> M:
    """Validate a body. Raises MissingField, InvalidField, naming the field as it was sent."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _complaint(error, fields, InvalidField) from error


def query_as(model: type[M], parameters: dict[str, Any]) -> M:
    """Validate query parameters. Raises MissingField, InvalidFilter, naming the parameter."""
    try:
        return model.model_validate(parameters)
    except ValidationError as error:
        raise _complaint(error, parameters, InvalidFilter) from error


def _complaint(
    error: ValidationError, sent: dict[str, Any], otherwise: type[InvalidField | InvalidFilter]
) -> InvalidField | InvalidRequest:
    first = explain(error.errors(include_url=False), sent)[0]
    param = ".".join(str(part) for part in first.path)
    if first.type == "missing":
        return MissingField(f"The field {param} is missing.", param=param)
    return otherwise(f"{param}: {first.text}", param=param)
