"""Request bodies: read within a bound, JSON whatever is claimed, complaints that name the field."""

from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect, Request

from outlast.model.error import (
    BodyTooLarge,
    InvalidField,
    InvalidFilter,
    InvalidRequest,
    MissingField,
)
from outlast.model.nesting import DEEPEST, is_too_deep

M = TypeVar("M", bound=BaseModel)


async def read(request: Request, limit: int) -> bytes:
    """The body's bytes.

    Raises BodyTooLarge as soon as that is known, InvalidRequest if the client has left.
    """
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


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request's body is larger than {limit} bytes.")


def json_object(content: bytes) -> dict[str, Any]:
    """Read a JSON object; no bytes at all are an empty one.

    Raises InvalidRequest (not JSON, not UTF-8, too deep, not an object), InvalidField (a NUL).
    """
    if not content:
        return {}
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error}", param="body") from error
    if content.count(b"{") + content.count(b"[") > DEEPEST:
        _require_shallow(value)
    if b"\\u0000" in content:
        _check_nul(value, ())
    if not isinstance(value, dict):
        raise InvalidRequest("The body is not a JSON object.", param="body")
    return value


def _require_shallow(value: Any) -> None:
    if is_too_deep(value):
        raise InvalidRequest(f"The body is nested deeper than {DEEPEST} levels.", param="body")


def _check_nul(value: Any, path: tuple[str, ...]) -> None:
    """A text with a NUL character is JSON, but no database keeps it."""
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
    """Check a body's fields. Raises MissingField, InvalidField, naming the field as it was sent."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _complaint(error, InvalidField) from error


def query_as(model: type[M], parameters: dict[str, Any]) -> M:
    """Check query parameters. Raises MissingField, InvalidFilter, naming the parameter."""
    try:
        return model.model_validate(parameters)
    except ValidationError as error:
        raise _complaint(error, InvalidFilter) from error


def _complaint(
    error: ValidationError, otherwise: type[InvalidField | InvalidFilter]
) -> InvalidField | InvalidRequest:
    first = error.errors(include_url=False, include_input=False)[0]
    param = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return MissingField(f"The field {param} is missing.", param=param)
    said = first["msg"].removeprefix("Value error, ")
    return otherwise(f"{param}: {said}", param=param)
