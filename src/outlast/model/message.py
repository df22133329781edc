"""Messages of a conversation, provider-neutral: what a model reads and writes.

A conversation's history is user message, assistant message, tool messages, assistant message, …
"""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from outlast.model.image import Image


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of an assistant message that the user sees."""

    text: str


@dataclass(frozen=True, slots=True)
class Thinking:
    """A piece of an assistant message that shows the model's reasoning."""

    text: str
    signature: str | None = None
    """The provider's signature of this text; some providers require it back."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """An assistant's request that a tool be called."""

    id: str
    """The server's id: tc_…"""
    name: str
    parameters: dict[str, Any]
    invalid: str | None = None
    """What the model wrote instead of a JSON object; `parameters` is empty then."""
    provider_id: str | None = None
    """The provider's id of the call, sent back to it."""


Part: TypeAlias = Text | Thinking | ToolCall


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What the user said."""

    text: str


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """What the model answered: text, thinking and tool calls in their order."""

    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """All text parts together."""
        return "".join([part.text for part in self.parts if isinstance(part, Text)])

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls in their order."""
        return tuple([part for part in self.parts if isinstance(part, ToolCall)])


@dataclass(frozen=True, slots=True)
class ToolMessage:
    """A tool's answer to one call."""

    tool_call_id: str
    name: str
    content: Any
    """JSON; the error's text where is_error."""
    is_error: bool = False
    provider_id: str | None = None
    images: tuple[Image, ...] = ()
    """Images that came with it; `content` has what stands for them in text."""


Message: TypeAlias = UserMessage | AssistantMessage | ToolMessage

UNANSWERED = "The call was interrupted; nothing is known of its result."


def repair(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Return a history that every provider accepts, also after a cancel, a crash or a failure.

    Each tool call is followed by exactly one answer (a missing one is written as an error), an
    answer without its call is dropped, and assistant messages without any part are dropped.
    Idempotent.
    """
    answers = {m.tool_call_id: m for m in messages if isinstance(m, ToolMessage)}
    repaired: list[Message] = []
    for message in messages:
        match message:
            case UserMessage():
                repaired.append(message)
            case AssistantMessage():
                if message.parts:
                    repaired.append(message)
                    repaired.extend(_answer(call, answers) for call in message.tool_calls)
            case ToolMessage():
                pass
    return tuple(repaired)


def _answer(call: ToolCall, answers: dict[str, ToolMessage]) -> ToolMessage:
    answer = answers.get(call.id)
    if answer is None:
        return ToolMessage(
            call.id, call.name, UNANSWERED, is_error=True, provider_id=call.provider_id
        )
    return replace(answer, provider_id=call.provider_id)
