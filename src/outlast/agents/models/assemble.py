"""An answer put together from its pieces, and what goes back of it, whoever streams them."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from outlast.model.json_depth import is_too_deep
from outlast.model.message import AssistantMessage, Message, Part, Text
from outlast.model.text import read_json, storable
from outlast.model.whole_number import beyond_64_bits

MARK_PROVIDER: Final = "openai-chat"
"""Who wrote a mark in `Thinking.signature`; pydantic-ai has no provider of this name."""
_LENGTH: Final = frozenset({"length", "max_tokens", "max_output_tokens"})
_FILTERED: Final = frozenset(
    {"content_filter", "safety", "sensitive", "recitation", "prohibited_content", "blocklist"}
)
_FAILED: Final = re.compile(
    r"error|fail|abort|cancel|malformed|unexpected|time(?:d_)?out|insufficient|unavailable"
    r"|overload|interrupt",
    re.IGNORECASE,
)
_NO_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
LONGEST_NAME: Final = 512
"""Characters of a model's name and of a reason for ending."""
_LONGEST_SENT: Final = 64
_LONGEST_ID: Final = 256


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


def read_arguments(text: str) -> tuple[dict[str, Any], str | None]:
    """The arguments that a model wrote; no text at all means none, JSON in JSON is read.

    What is no JSON object, one nested too deep to be shown and one with a whole number beyond 64
    bits, which would be rounded, is answered as it was written.
    """
    if not text.strip():
        return {}, None
    try:
        value = read_json(data := storable(text).encode())
        if isinstance(value, str) and value.lstrip().startswith("{"):
            value = read_json(data := storable(value).encode())
    except ValueError:
        return {}, text
    if beyond_64_bits(data) is not None:
        return {}, data.decode()
    fits = isinstance(value, dict) and not is_too_deep(value)
    return (value, None) if fits else ({}, text)


def finish_reason(said: str, message: AssistantMessage) -> str:
    """One of ours: stop, length, tool_calls, content_filter."""
    name = said.lower()
    if name in _LENGTH:
        return "length"
    if name in _FILTERED:
        return "content_filter"
    return "tool_calls" if message.tool_calls else "stop"


def names_failure(said: str) -> bool:
    """Whether a provider's reason for ending says that it failed."""
    return _FAILED.search(said) is not None


def sent_ids(messages: Iterable[Message]) -> dict[str, str]:
    """The id under which each tool call goes back, by our id: the provider's where it is unique."""
    sent: dict[str, str] = {}
    used: set[str] = set()
    for message in messages:
        if isinstance(message, AssistantMessage):
            for call in message.tool_calls:
                given = call.provider_id or ""
                usable = 0 < len(given) <= _LONGEST_ID and given not in used
                sent[call.id] = given if usable else call.id
                used.add(sent[call.id])
    return sent


def sent_name(name: str) -> str:
    """A tool's name as every provider takes it back: `^[a-zA-Z0-9_-]{1,64}$`."""
    return _NO_NAME.sub("_", name[:_LONGEST_SENT]) or "unnamed"
