"""Schemas that are valid at a glance: a check without the validator, whose library takes 7 MiB.

Most tools' schemas have the commonest keywords alone. Any other one is compiled to be checked.
"""

from collections.abc import Callable
from math import isfinite
from typing import Any, Final

_TYPES: Final = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


def is_plain(schema: Any) -> bool:
    """Whether it has well-known keywords alone, each with a value that JSON Schema allows there."""
    return type(schema) is dict and all(
        (fits := _KEYWORDS.get(key)) is not None and fits(value) for key, value in schema.items()
    )


def _text(value: Any) -> bool:
    return type(value) is str


def _scalar(value: Any) -> bool:
    return type(value) in _SCALARS


def _number(value: Any) -> bool:
    return type(value) is int or (type(value) is float and isfinite(value))


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _boolean(value: Any) -> bool:
    return type(value) is bool


def _type(value: Any) -> bool:
    return _text(value) and value in _TYPES


def _names(value: Any) -> bool:
    return type(value) is list and all(map(_text, value)) and len(set(value)) == len(value)


def _scalars(value: Any) -> bool:
    return type(value) is list and all(map(_scalar, value))


def _by_name(value: Any) -> bool:
    return type(value) is dict and all(map(_text, value)) and all(map(is_plain, value.values()))


def _choices(value: Any) -> bool:
    return type(value) is list and bool(value) and all(map(is_plain, value))


def _rest(value: Any) -> bool:
    return _boolean(value) or is_plain(value)


_KEYWORDS: Final[dict[str, Callable[[Any], bool]]] = {
    "type": _type,
    "title": _text,
    "description": _text,
    "format": _text,
    "default": _scalar,
    "enum": _scalars,
    "const": _scalar,
    "minimum": _number,
    "maximum": _number,
    "minLength": _count,
    "maxLength": _count,
    "minItems": _count,
    "maxItems": _count,
    "properties": _by_name,
    "required": _names,
    "additionalProperties": _rest,
    "items": is_plain,
    "anyOf": _choices,
}
