"""Removes echoed request text from a provider's messages: logs hold no content."""

from collections.abc import Iterator
from typing import Final

import orjson

from outlast.agents.port import ModelRequest
from outlast.model.message import AssistantMessage, ToolMessage, UserMessage

_SHARED: Final = 12
"""Minimum length of a common run that counts as repeated."""
_SHORT: Final = 4
"""Texts of the request up to this length are searched for as a whole."""
_READ: Final = 50_000
"""Characters compared of each text, at its beginning and at its end."""
_READ_IN_ALL: Final = 200_000
"""Characters compared of all texts together, the newest first."""
_MARK: Final = "[…]"


def without_echo(words: str, request: ModelRequest | None) -> str:
    """Return the message with a mark in the place of what it shares with the request's texts."""
    if request is None:
        return words
    shared, left = bytearray(len(words)), _READ_IN_ALL
    for text in map(_on_one_line, _texts(request)):
        if len(text) < _SHORT:
            continue
        if (left := left - len(text)) < 0:
            break
        length = min(_SHARED, len(text))
        for start in range(len(words) - length + 1):
            if words[start : start + length] in text:
                shared[start : start + length] = b"\1" * length
    return "".join(_marked(words, shared))


def _marked(words: str, shared: bytearray) -> Iterator[str]:
    open_mark = False
    for letter, hidden in zip(words, shared, strict=True):
        if not hidden:
            yield letter
        elif not open_mark:
            yield _MARK
        open_mark = bool(hidden)


def _texts(request: ModelRequest) -> Iterator[str]:
    yield request.instructions
    for message in reversed(request.messages):
        match message:
            case UserMessage(text):
                yield text
            case AssistantMessage():
                yield message.text
                for call in message.tool_calls:
                    yield orjson.dumps(call.parameters).decode()
            case ToolMessage(content=str(text)):
                yield text
            case ToolMessage():
                yield orjson.dumps(message.content).decode()


def _on_one_line(text: str) -> str:
    if len(text) > 2 * _READ:
        text = f"{text[:_READ]}\n{text[-_READ:]}"
    return " ".join(text.split())
