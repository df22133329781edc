"""Folds the chunks of an OpenAI chat completion into pieces and one Answer.

Source of the format: OpenAI API reference, "chat.completion.chunk". Tolerated, since compatible
endpoints do it: tool calls as in `chat_calls`, content in a list of parts, reasoning under either
name or in tags (`thought_tags`), a refusal in place of content, no usage, a whole completion in
place of a stream. Success is not assumed: an error in any of its shapes, a finish reason that names
a failure and an empty answer are failures. Every field is validated here and trusted afterwards.
"""

import json
from typing import Any, Final, TypeAlias

import orjson

from outlast.agents.estimate import estimated_usage
from outlast.agents.models.assemble import (
    LONGEST_NAME,
    MARK_PROVIDER,
    Spoken,
    finish_reason,
    names_failure,
)
from outlast.agents.models.chat_calls import CallDrafts
from outlast.agents.models.refusal import broken_off, cut_short
from outlast.agents.models.schemas import read_by_schema
from outlast.agents.models.sse import ErrorData
from outlast.agents.models.thought_tags import ThoughtTags, collect
from outlast.agents.port import Answer, CallPiece, ModelRequest, TextPiece, ThinkingPiece
from outlast.model.clock import Clock
from outlast.model.error import ModelUnavailable
from outlast.model.message import AssistantMessage, Part, Text, Thinking
from outlast.model.text import read_json, storable
from outlast.model.usage import Usage, counted
from outlast.model.whole_number import beyond_64_bits

Piece: TypeAlias = TextPiece | ThinkingPiece | CallPiece
Pieces: TypeAlias = tuple[Piece, ...]

_DONE: Final = b"[DONE]"
_CALLING: Final = frozenset({"tool_calls", "function_call", "tool_use"})
"""Finish reasons of an answer that calls a tool."""
_PLAIN: Final = frozenset({"content", "role"})
"""Fields of a delta that holds only text."""
_MISTAKES: Final = (ValueError, TypeError, AttributeError, LookupError, RecursionError)
"""Errors raised by reading a field of the wrong type."""


class ChatAnswer:
    """One answer, as far as it has arrived."""

    __slots__ = (
        "_calls",
        "_clock",
        "_data",
        "_finish",
        "_model",
        "_reasoning",
        "_secrets",
        "_spoken",
        "_tags",
        "_usage",
        "done",
        "name",
    )

    def __init__(self, model: str, clock: Clock, secrets: tuple[str, ...] = ()) -> None:
        self._model = model
        self._clock = clock
        self._secrets = secrets
        self._spoken = Spoken()
        self._tags: ThoughtTags | None = ThoughtTags()
        """None once all further text is text."""
        self._calls = CallDrafts()
        self._finish: str | None = None
        self._usage: Usage | None = None
        self._data = b""
        """Data of the event being read."""
        self._reasoning = ""
        """Name of the field with the reasoning."""
        self.name = model
        self.done = False
        """Whether the provider has ended the answer."""

    @property
    def is_finished(self) -> bool:
        """Whether the answer has a finish reason; only its usage may be missing."""
        return self._finish is not None

    def feed(self, data: bytes) -> Pieces:
        """Add the data of one event. Raises ModelUnavailable if it is an error or no chunk.

        Data after the end is ignored.
        """
        if self.done:
            return ()
        if data == _DONE:
            self.done = True
            return ()
        self._data = data
        if isinstance(data, ErrorData):
            raise broken_off(self._model, error_value(data), secrets=self._secrets)
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            return self._feed_odd(data)
        return self._feed_chunk(chunk)

    def feed_whole(self, body: bytes) -> Pieces:
        """Add a completion in one piece. Raises like `feed`."""
        self._data = body
        try:
            completion = read_json(body)
        except ValueError as error:
            raise self._garbage() from error
        pieces = self._feed_chunk(completion, "message")
        if self._finish is None:
            raise self._garbage()
        return pieces

    def rest(self) -> Pieces:
        """Return the last pieces, once the answer has ended."""
        return () if self._tags is None else collect(self._spoken, self._tags.finish())

    def answer(self, request: ModelRequest) -> Answer:
        """Return the whole answer. Raises ModelUnavailable if it is incomplete, failed or empty."""
        reason = self._finish
        if reason is None and not self.done:
            raise ModelUnavailable(f"{self._model}: the provider's stream ended in mid-answer.")
        if reason is not None and names_failure(reason):
            raise cut_short(self._model, reason)
        spoken = self._spoken.parts()
        if (
            (reason is None or reason.lower() in _CALLING)
            and not self._calls
            and not any(isinstance(part, Text) for part in spoken)
        ):
            raise ModelUnavailable(f"{self._model}: the provider's stream ended with nothing said.")
        message = read_by_schema(AssistantMessage(tuple(self._parts(spoken))), request)
        usage = estimated_usage(request, message) if self._usage is None else self._usage
        return Answer(message, usage, self.name, finish_reason(reason or "stop", message))

    def _parts(self, spoken: list[Part]) -> list[Part]:
        """Return text, then calls; with calls, reasoning carries the mark to be sent back."""
        calls = self._calls.finish(self._clock, self._model)
        if calls and self._reasoning:
            mark = {"provider": MARK_PROVIDER, "model": self._model, "field": self._reasoning}
            signature = orjson.dumps(mark).decode()
            spoken = [
                Thinking(part.text, signature) if isinstance(part, Thinking) else part
                for part in spoken
            ]
        return [*spoken, *calls]

    def _feed_odd(self, data: bytes) -> Pieces:
        """Add data that is not strict JSON: blanks, an end with blanks, part of a character."""
        bare = data.strip()
        if not bare:
            return ()
        if bare == _DONE:
            self.done = True
            return ()
        try:
            chunk = read_json(data)
        except ValueError as error:
            raise self._garbage() from error
        return self._feed_chunk(chunk)

    def _feed_chunk(self, chunk: Any, field: str = "delta") -> Pieces:
        try:
            choices = chunk.get("choices")
            if choices and (text := _plain_text(chunk, choices[0])):
                return self._say(text)
            if (not choices or "error" in choices[0] or "error" in chunk) and (
                error := error_of(chunk)
            ):
                raise broken_off(self._model, error, secrets=self._secrets)
            return self._take(chunk, field)
        except _MISTAKES as error:
            raise self._garbage() from error

    def _garbage(self) -> ModelUnavailable:
        return ModelUnavailable(f"{self._model}: the provider's answer is not a completion.")

    def _take(self, chunk: dict[str, Any], field: str) -> Pieces:
        if usage := chunk.get("usage"):
            self._usage = _usage(usage)
            self._take_name(chunk)
        choices = chunk.get("choices")
        if not choices:
            return ()
        choice = choices[0]
        if finish := choice.get("finish_reason"):
            self._finish = _bounded(finish)
            self._take_name(chunk)
        delta = choice.get(field)
        return self._take_delta(delta) if delta else ()

    def _take_name(self, chunk: dict[str, Any]) -> None:
        if name := chunk.get("model"):
            self.name = _bounded(name)

    def _take_delta(self, delta: dict[str, Any]) -> Pieces:
        pieces: list[Piece] = []
        if calls := delta.get("tool_calls"):
            added = sum(
                self._calls.take(call if _has_text(call) else self._exact(call, place))
                for place, call in enumerate(calls)
            )
            if added:
                pieces.append(CallPiece(added))
        content = delta.get("content")
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if reasoning:
            self._reasoning = "reasoning_content" if "reasoning_content" in delta else "reasoning"
            pieces.append(self._think(_string(reasoning)))
        if content:
            pieces += self._content(content)
        if refusal := delta.get("refusal"):
            pieces += self._say(_string(refusal))
        return tuple(pieces)

    def _exact(self, call: dict[str, Any], place: int) -> dict[str, Any]:
        """Return a call whose arguments are not text, with integers beyond 64 bits as sent.

        Parsed as JSON they would become floats and be rounded.
        """
        if beyond_64_bits(self._data) is None:
            return call
        choice = json.loads(self._data.decode("utf-8", "replace"))["choices"][0]
        exact = (choice.get("delta") or choice["message"])["tool_calls"][place]
        arguments = json.dumps(exact["function"]["arguments"])
        return {**call, "function": {**call["function"], "arguments": arguments}}

    def _content(self, content: Any) -> Pieces:
        """Yield the pieces of text, or of a list of parts with text and thinking."""
        if not isinstance(content, list):
            return self._say(_string(content))
        pieces: list[Piece] = []
        for part in content:
            thought = part.get("thinking") if isinstance(part, dict) else None
            if thought and (text := _text(thought)):
                pieces.append(self._think(text))
            elif text := _text(part):
                pieces += self._say(text)
        return tuple(pieces)

    def _say(self, text: str) -> Pieces:
        if (tags := self._tags) is None:
            self._spoken.add(Text, text)
            return (TextPiece(text),)
        pieces = collect(self._spoken, tags.feed(text))
        if tags.over:
            self._tags = None
        return pieces

    def _think(self, text: str) -> ThinkingPiece:
        self._spoken.add(Thinking, text)
        return ThinkingPiece(text)


def _plain_text(chunk: dict[str, Any], choice: dict[str, Any]) -> str | None:
    """Return the text of a chunk that holds nothing else, like almost all; None for others."""
    delta = choice.get("delta")
    if (
        not delta
        or not delta.keys() <= _PLAIN
        or choice.get("finish_reason")
        or chunk.get("usage")
        or "error" in choice
        or "error" in chunk
    ):
        return None
    text = delta.get("content")
    return text if type(text) is str else None


def error_of(chunk: Any) -> Any:
    """Return the error of a chunk, in any of its shapes; None if it has none."""
    if error := chunk.get("error"):
        return error
    choices = chunk.get("choices")
    if choices:
        return choices[0].get("error")
    if choices is None and "usage" not in chunk:
        named = chunk.get("object") == "error" or chunk.get("type") == "error"
        return chunk if named or chunk.get("message") or chunk.get("detail") else None
    return None


def error_value(data: bytes) -> Any:
    """Return the error of an `event: error`: JSON as its value, anything else as text."""
    try:
        value = read_json(bytes(data))  # orjson reads no subclass of bytes
    except ValueError:
        return data.decode("utf-8", "replace")
    return value.get("error") or value if isinstance(value, dict) else value


def _has_text(call: Any) -> bool:
    """Whether the arguments of a call are text or absent."""
    function = call.get("function")
    return not function or isinstance(function.get("arguments"), str | None)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("content is a string")
    return value


def _bounded(value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_NAME:
        raise TypeError("a name is a short string")
    return storable(value)


def _text(part: Any) -> str:
    """Return the text of a content part, or of a list of them; empty if there is none."""
    match part:
        case str():
            return part
        case list():
            return "".join(map(_text, part))
        case {"text": str(text)} | {"refusal": str(text)}:
            return text
        case dict() | None:
            return ""
        case _:
            raise TypeError("content is made of text")


def _usage(figures: Any) -> Usage | None:
    """Return the provider's token counts; None if they are implausible."""
    if not isinstance(figures, dict):
        return None
    details = figures.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return counted(figures.get("prompt_tokens"), figures.get("completion_tokens"), cached)
