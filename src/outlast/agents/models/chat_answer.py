"""The chunks of an OpenAI chat completion, folded into pieces and one Answer.

Source of the format: OpenAI API reference, "chat.completion.chunk". Tolerated, since endpoints that
call themselves compatible do it: tool calls without index or id, several under one index,
arguments as an object, reasoning under either name, no usage, a whole completion in place
of a stream.
"""

from typing import Any

import orjson

from outlast.agents.estimate import estimated_usage
from outlast.agents.models.assemble import CallDraft, Spoken, finish_reason
from outlast.agents.models.refusal import broken_off
from outlast.agents.port import Answer, ModelRequest, TextPiece, ThinkingPiece
from outlast.model.clock import Clock
from outlast.model.error import ModelUnavailable
from outlast.model.message import AssistantMessage, Text, Thinking
from outlast.model.usage import Usage

_DONE = b"[DONE]"


class ChatAnswer:
    """What has come of one answer."""

    __slots__ = (
        "_calls",
        "_clock",
        "_finish",
        "_key",
        "_model",
        "_spoken",
        "_usage",
        "done",
        "name",
    )

    def __init__(self, model: str, clock: Clock, key: str | None = None) -> None:
        self._model = model
        self._clock = clock
        self._key = key
        self._spoken = Spoken()
        self._calls: list[tuple[Any, CallDraft]] = []
        self._finish: str | None = None
        self._usage: Usage | None = None
        self.name = model
        self.done = False
        """Whether the provider said that nothing more comes."""

    def feed(self, data: bytes) -> tuple[TextPiece | ThinkingPiece, ...]:
        """Take the data of one event. Raises ModelUnavailable on no chunk and on an error."""
        if data == _DONE:
            self.done = True
            return ()
        try:
            chunk = orjson.loads(data)
            if chunk.get("error"):
                raise broken_off(self._model, chunk["error"], key=self._key)
            return self._take(chunk, "delta")
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise self._garbage() from error

    def feed_whole(self, body: bytes) -> tuple[TextPiece | ThinkingPiece, ...]:
        """Take a completion in one piece. Raises ModelUnavailable like feed."""
        try:
            completion = orjson.loads(body)
            if completion.get("error"):
                raise broken_off(self._model, completion["error"], key=self._key)
            pieces = self._take(completion, "message")
        except (ValueError, TypeError, AttributeError, LookupError) as error:
            raise self._garbage() from error
        if self._finish is None:
            raise self._garbage()
        return pieces

    def answer(self, asked: ModelRequest) -> Answer:
        """The whole answer. Raises ModelUnavailable when the stream broke off before its finish."""
        if self._finish is None and not self.done:
            raise ModelUnavailable(f"{self._model}: the provider's stream ended in mid-answer.")
        calls = [draft.finish(self._clock) for _, draft in self._calls]
        message = AssistantMessage((*self._spoken.parts(), *calls))
        usage = self._usage
        if usage is None:
            usage = estimated_usage(asked, message)
        return Answer(message, usage, self.name, finish_reason(self._finish or "stop", message))

    def _garbage(self) -> ModelUnavailable:
        return ModelUnavailable(
            f"{self._model}: the provider sent something that is no completion."
        )

    def _take(self, chunk: dict[str, Any], field: str) -> tuple[TextPiece | ThinkingPiece, ...]:
        if usage := chunk.get("usage"):
            self._usage = _usage(usage)
            self.name = chunk.get("model") or self.name
        choices = chunk.get("choices")
        if not choices:
            return ()
        choice = choices[0]
        if finish := choice.get("finish_reason"):
            self._finish = finish
            self.name = chunk.get("model") or self.name
        delta = choice.get(field)
        return self._take_delta(delta) if delta else ()

    def _take_delta(self, delta: dict[str, Any]) -> tuple[TextPiece | ThinkingPiece, ...]:
        calls = delta.get("tool_calls")
        if calls:
            for call in calls:
                self._take_call(call)
        content = delta.get("content")
        reasoning = delta.get("reasoning_content") or delta.get("reasoning")
        if not reasoning:
            return (self._text(content),) if content else ()
        thought = ThinkingPiece(_string(reasoning))
        self._spoken.add(Thinking, thought.text)
        return (thought, self._text(content)) if content else (thought,)

    def _text(self, content: Any) -> TextPiece:
        piece = TextPiece(_string(content))
        self._spoken.add(Text, piece.text)
        return piece

    def _take_call(self, call: dict[str, Any]) -> None:
        function = call.get("function") or {}
        draft = self._draft(call.get("index"), call.get("id"), function.get("name"))
        draft.id = draft.id or call.get("id") or ""
        draft.name = draft.name or function.get("name") or ""
        arguments = function.get("arguments")
        if arguments:
            text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
            draft.arguments.append(text)

    def _draft(self, index: Any, provider_id: str | None, name: str | None) -> CallDraft:
        """The call that a delta belongs to: by index, else by id, else the one that came last."""
        same = [d for i, d in self._calls if i == index]
        draft = same[-1] if same else None
        if index is None and provider_id:
            draft = next((d for d in same if d.id == provider_id), draft)
        if draft is None or (name and _another(draft, provider_id, index)):
            draft = CallDraft()
            self._calls.append((index, draft))
        return draft


def _another(draft: CallDraft, provider_id: str | None, index: Any) -> bool:
    """Whether a delta that names a function begins a call other than the draft."""
    if provider_id and draft.id:
        return provider_id != draft.id
    return index is None and bool(draft.name)


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("content is a string")
    return value


def _usage(figures: dict[str, Any]) -> Usage:
    details = figures.get("prompt_tokens_details") or {}
    return Usage(
        int(figures.get("prompt_tokens") or 0),
        int(figures.get("completion_tokens") or 0),
        int(details.get("cached_tokens") or 0),
    )
