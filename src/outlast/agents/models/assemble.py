"""Assembles an answer from its streamed pieces, and names and ids to send back."""

import hashlib
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from outlast.model.json_depth import is_too_deep
from outlast.model.message import AssistantMessage, Message, Part, Text
from outlast.model.text import read_json, storable
from outlast.model.whole_number import beyond_64_bits

MARK_PROVIDER: Final = "openai-chat"
"""Provider's name in marks in `Thinking.signature`; pydantic-ai has no provider of this name."""
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
"""Maximum characters of a model's name and of a finish reason."""
_LONGEST_SENT: Final = 64
ANY_ID: Final = re.compile(r".{1,256}", re.DOTALL)
OPENAI_ID: Final = re.compile(r".{1,40}", re.DOTALL)


class Spoken:
    """Collects text and thinking; a part ends when the kind changes."""

    __slots__ = ("_kind", "_parts", "_pieces")

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._pieces: list[str] = []
        self._kind: Callable[[str], Part] = Text

    def add(self, kind: Callable[[str], Part], piece: str) -> None:
        """Add a piece of this kind, Text or Thinking."""
        if kind is not self._kind:
            self._end_part()
            self._kind = kind
        self._pieces.append(piece)

    def parts(self) -> list[Part]:
        """Return all parts so far."""
        self._end_part()
        return list(self._parts)

    def _end_part(self) -> None:
        if self._pieces:
            self._parts.append(self._kind("".join(self._pieces)))
            self._pieces.clear()


def read_arguments(text: str) -> tuple[dict[str, Any], str | None]:
    """Return the arguments that a model wrote; empty text means none, JSON in a string is read.

    Text that is no JSON object, is nested too deep, or has an integer beyond 64 bits, which would
    be rounded, is returned as written.
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


def finish_reason(reason: str, message: AssistantMessage) -> str:
    """Return Outlast's finish reason: stop, length, tool_calls, content_filter."""
    name = reason.lower()
    if name in _LENGTH:
        return "length"
    if name in _FILTERED:
        return "content_filter"
    return "tool_calls" if message.tool_calls else "stop"


def names_failure(reason: str) -> bool:
    """Whether a provider's finish reason means a failure."""
    return _FAILED.search(reason) is not None


def sent_ids(messages: Iterable[Message], accepted: re.Pattern[str] = ANY_ID) -> dict[str, str]:
    """Return the id to send back for each tool call, by our id.

    It is the provider's if it is unique and the provider that it is sent to accepts it: another
    model may have made the call.
    """
    sent: dict[str, str] = {}
    used: set[str] = set()
    for message in messages:
        if isinstance(message, AssistantMessage):
            for call in message.tool_calls:
                given = call.provider_id or ""
                usable = accepted.fullmatch(given) is not None and given not in used
                sent[call.id] = given if usable else _own_id(call.id, accepted)
                used.add(sent[call.id])
    return sent


def _own_id(call_id: str, accepted: re.Pattern[str]) -> str:
    """Return our id, or where that is not accepted one of nine characters."""
    if accepted.fullmatch(call_id):
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:9]


def sent_name(name: str) -> str:
    """Return a tool's name as every provider accepts it: `^[a-zA-Z0-9_-]{1,64}$`."""
    return _NO_NAME.sub("_", name[:_LONGEST_SENT]) or "unnamed"
