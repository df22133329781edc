"""U+0000 in what models and tools say: Postgres stores no text that holds it.

Both databases get U+FFFD in its place, so that an execution is the same on either.
https://www.postgresql.org/docs/current/datatype-json.html
"""

from dataclasses import replace
from operator import is_
from typing import Any, Final

import orjson

from outlast.model.message import AssistantMessage, Part, Text, Thinking, ToolCall

_NUL: Final = "\0"
_INSTEAD: Final = "\ufffd"


def without_nul(value: Any) -> Any:
    """The same JSON, storable; text and containers only, other values are kept."""
    if isinstance(value, str):
        return value.replace(_NUL, _INSTEAD) if _NUL in value else value
    if b"\\u0000" not in orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=str):
        return value
    return _cleaned(value)


def message_without_nul(message: AssistantMessage) -> AssistantMessage:
    """The same message, storable."""
    parts = tuple(_part(part) for part in message.parts)
    return message if all(map(is_, parts, message.parts)) else AssistantMessage(parts)


def _part(part: Part) -> Part:
    match part:
        case Text() | Thinking():
            return part if _NUL not in part.text else replace(part, text=without_nul(part.text))
        case ToolCall():
            return replace(
                part,
                name=without_nul(part.name),
                parameters=without_nul(part.parameters),
                invalid=without_nul(part.invalid),
                provider_id=without_nul(part.provider_id),
            )


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return value.replace(_NUL, _INSTEAD)
        case dict():
            return {_cleaned(name): _cleaned(item) for name, item in value.items()}
        case list() | tuple():
            return [_cleaned(item) for item in value]
        case _:
            return value
