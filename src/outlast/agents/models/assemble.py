"""An answer put together from its pieces: text, thinking, tool calls, whoever streams them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson

from outlast.model import ids
from outlast.model.clock import Clock
from outlast.model.message import AssistantMessage, Part, Text, ToolCall
from outlast.model.nesting import is_too_deep


class Spoken:
    """Text and thinking as they come; a part ends where the kind changes."""

    __slots__ = ("_kind", "_parts", "_pieces")

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._pieces: list[str] = []
        self._kind: Callable[[str], Part] = Text

    def add(self, kind: Callable[[str], Part], piece: str) -> None:
        """Take a piece of this kind, Text or Thinking."""
        if kind is not self._kind:
            self._end_part()
            self._kind = kind
        self._pieces.append(piece)

    def parts(self) -> list[Part]:
        """All parts so far."""
        self._end_part()
        return list(self._parts)

    def _end_part(self) -> None:
        if self._pieces:
            self._parts.append(self._kind("".join(self._pieces)))
            self._pieces.clear()


@dataclass(slots=True)
class CallDraft:
    """A tool call while its arguments come."""

    id: str = ""
    """The provider's."""
    name: str = ""
    arguments: list[str] = field(default_factory=list)

    def finish(self, clock: Clock) -> ToolCall:
        """The call; arguments that are no JSON object become its `invalid`."""
        text = "".join(self.arguments)
        parameters, invalid = read_arguments(text)
        return ToolCall(
            clock.new_id(ids.TOOL_CALL), self.name, parameters, invalid, self.id or None
        )


def read_arguments(text: str) -> tuple[dict[str, Any], str | None]:
    """The arguments that a model wrote; no text at all means none.

    What is no JSON object, or one nested too deep to be shown, is answered as it was written.
    """
    if not text.strip():
        return {}, None
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return {}, text
    fits = isinstance(value, dict) and not is_too_deep(value)
    return (value, None) if fits else ({}, text)


def finish_reason(said: str, message: AssistantMessage) -> str:
    """One of ours: stop, length, tool_calls, content_filter."""
    if said in {"length", "content_filter"}:
        return said
    return "tool_calls" if message.tool_calls else "stop"
