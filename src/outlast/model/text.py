r"""Text from outside, made storable: neither database stores U+0000 or a lone surrogate.

Models, tools and code agents may produce either: JSON can write a lone surrogate (`"\ud83d"`), and
`os.listdir` returns one for a byte that is no UTF-8. Adjacent halves become their character; the
rest is replaced by U+FFFD, so that an execution is the same on either database.
https://www.postgresql.org/docs/current/datatype-json.html, PEP 383
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from operator import is_
from typing import Any, Final, Generic, TypeVar

import orjson

from outlast.model.message import (
    AssistantMessage,
    Message,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    UserMessage,
)

T = TypeVar("T")
K = TypeVar("K")

_NUL: Final = "\0"
_INSTEAD: Final = "\ufffd"
_HIGH: Final = ("\ud800", "\udbff")
_WIDEST: Final = 4
"""Maximum bytes of one character."""
_SIXTY_FOUR_BITS: Final = 1 << 64


def storable(value: T) -> T:
    """Return the same JSON with every text in it storable; other values unchanged."""
    if isinstance(value, str):
        return _text(value)  # type: ignore[return-value] # a str
    try:
        written = orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS, default=str)
    except TypeError:  # half a pair, which no UTF-8 can spell
        return _cleaned(value)  # type: ignore[no-any-return]
    return _cleaned(value) if b"\\u0000" in written else value


def storable_message(message: AssistantMessage) -> AssistantMessage:
    """Return the same message, storable."""
    parts = tuple(_part(part) for part in message.parts)
    return message if all(map(is_, parts, message.parts)) else AssistantMessage(parts)


def storable_messages(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Return the same messages, storable; other values unchanged."""
    return tuple(_message(message) for message in messages)


def shortened(text: str, most: int) -> str:
    """Return the text cut to at most this many bytes of UTF-8; a cut text ends with a mark."""
    if len(text) * _WIDEST <= most or len(data := text.encode()) <= most:
        return text
    mark = f"… (cut: {len(data)} bytes in all)"
    return data[: most - len(mark.encode())].decode(errors="ignore") + mark


def read_json(data: bytes) -> Any:
    """Return the value of JSON in UTF-8, also if it contains lone surrogates.

    They stay in the value: make it storable once its text is complete. Bytes that are no UTF-8
    become U+FFFD. Raises ValueError.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        if b"\\u" not in data and b"\\U" not in data and _is_utf_8(data):
            raise
    try:
        return json.loads(
            data.decode("utf-8", "replace"), parse_constant=_no_constant, parse_int=_integer
        )
    except RecursionError as error:
        raise ValueError("nested too deep") from error


class WholePieces(Generic[K]):
    """Makes the pieces of streamed text storable.

    A lone surrogate at the end of a piece is held until the next piece of its kind.
    """

    __slots__ = ("_kind", "held")

    def __init__(self) -> None:
        self.held = ""
        """The surrogate that is held."""
        self._kind: K | None = None

    def add(self, kind: K, piece: str) -> tuple[tuple[K, str], ...]:
        """Return the pieces that this one completes; none is empty."""
        if not self.held and piece.isascii() and _NUL not in piece:
            return ((kind, piece),)
        ended = self.end() if self._kind is not kind else ()
        piece, self.held, self._kind = self.held + piece, "", kind
        if _HIGH[0] <= piece[-1:] <= _HIGH[1]:
            piece, self.held = piece[:-1], piece[-1]
        return (*ended, (kind, _text(piece))) if piece else ended

    def end(self) -> tuple[tuple[K, str], ...]:
        """Return the surrogate that is still held, replaced by U+FFFD."""
        held, self.held = self.held, ""
        return ((self._kind, _text(held)),) if held and self._kind is not None else ()


def _is_utf_8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _integer(digits: str) -> int | float:
    """Return the number as orjson reads it: a float if it does not fit 64 bits."""
    value = int(digits)
    return value if -_SIXTY_FOUR_BITS <= 2 * value < 2 * _SIXTY_FOUR_BITS else float(digits)


def _text(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text.replace(_NUL, _INSTEAD) if _NUL in text else text


def _message(message: Message) -> Message:
    match message:
        case UserMessage():
            return replace(message, text=storable(message.text))
        case AssistantMessage():
            return storable_message(message)
        case ToolMessage():
            return replace(message, content=storable(message.content))
        case _:
            return message


def _part(part: Part) -> Part:
    match part:
        case Text():
            text = _text(part.text)
            return part if text is part.text else replace(part, text=text)
        case Thinking():
            text, signature = _text(part.text), storable(part.signature)
            same = text is part.text and signature is part.signature
            return part if same else replace(part, text=text, signature=signature)
        case ToolCall():
            return ToolCall(
                part.id,
                storable(part.name),
                storable(part.parameters),
                storable(part.invalid),
                storable(part.provider_id),
            )


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return _text(value)
        case dict():
            return {_cleaned(name): _cleaned(item) for name, item in value.items()}
        case list() | tuple():
            return [_cleaned(item) for item in value]
        case _:
            return value
