"""Encodes a ModelRequest as the body of an OpenAI chat completion.

Source of the format: OpenAI API reference, "Create chat completion". A tool call goes back under
the provider's id if it gave a unique one. Images of results follow in a message of the user, for a
result is text. Thinking is not sent, except for what its model wants
back. Marks in `Thinking.signature` say so, JSON of {provider: "openai-chat", model} and either

field              the name under which reasoning came beside tool calls
                   (DeepSeek, Kimi: `reasoning_content`)
next: true, extra  the `extra_content` of the call that follows (Gemini: `thought_signature`)
"""

import re
from binascii import b2a_base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import orjson

from outlast.agents.models.assemble import (
    ANY_ID,
    MARK_PROVIDER,
    OPENAI_ID,
    sent_ids,
    sent_name,
)
from outlast.agents.models.schemas import inlined
from outlast.agents.port import ModelRequest
from outlast.model.agent import ToolSpec
from outlast.model.message import (
    AssistantMessage,
    Message,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    UserMessage,
)

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def encode(
    model: str,
    request: ModelRequest,
    limit_name: str = "max_tokens",
    extra: Mapping[str, Any] = _NOTHING,
) -> bytes:
    """Return the body; `limit_name`: this endpoint's parameter for the limit on output tokens.

    `extra` is what the operator adds to each body, or takes away by None.
    """
    body: dict[str, Any] = {
        **request.settings,
        "model": model,
        "messages": _messages(model, request, _ids_of(limit_name)),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if body.pop("web_search", False):
        body["web_search_options"] = {}
    if "max_completion_tokens" in body:
        body["max_completion_tokens"] = request.answer_limit
        body.pop("max_tokens", None)
    elif "max_tokens" in body and limit_name != "max_tokens":
        body[limit_name] = body.pop("max_tokens")
    if request.tools:
        body["tools"] = [_tool(spec) for spec in request.tools]
        if request.tool_choice != "auto":
            body["tool_choice"] = _choice(request.tool_choice)
    if extra:
        body = {key: value for key, value in {**body, **extra}.items() if value is not None}
    return orjson.dumps(body)


def content_text(content: Any) -> str:
    """Return a tool's result as a model reads it: JSON, or the text itself."""
    return content if isinstance(content, str) else orjson.dumps(content).decode()


def _ids_of(limit_name: str) -> re.Pattern[str]:
    """Return the ids of tool calls that the endpoint accepts: OpenAI has a limit of its own."""
    return ANY_ID if limit_name == "max_tokens" else OPENAI_ID


def _messages(model: str, request: ModelRequest, accepted: re.Pattern[str]) -> list[dict[str, Any]]:
    writer = _Writer(model, sent_ids(request.messages, accepted))
    messages: list[dict[str, Any]] = []
    brought: list[dict[str, Any]] = []
    for message in request.messages:
        if brought and not isinstance(message, ToolMessage):
            messages.append({"role": "user", "content": brought})
            brought = []
        messages.append(writer.message(message))
        if isinstance(message, ToolMessage):
            brought += _images(request, message)
    if brought:
        messages.append({"role": "user", "content": brought})
    if request.instructions:
        messages.insert(0, {"role": "system", "content": request.instructions})
    return messages


def _images(request: ModelRequest, message: ToolMessage) -> Iterator[dict[str, Any]]:
    """Yield the images of a result as parts of the message behind the results, which are text."""
    for image, data in request.shown(message):
        said = f"Not from the user: {image.id}, which the tool {message.name} has brought."
        url = f"data:{image.media_type};base64,{b2a_base64(data, newline=False).decode()}"
        yield {"type": "text", "text": said}
        yield {"type": "image_url", "image_url": {"url": url}}


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes messages for one model."""

    model: str
    ids: dict[str, str]
    """The id to send back for each call."""

    def message(self, message: Message) -> dict[str, Any]:
        match message:
            case UserMessage():
                return {"role": "user", "content": message.text}
            case AssistantMessage():
                return self._assistant(message)
            case ToolMessage():
                call_id = message.tool_call_id
                return {
                    "role": "tool",
                    "tool_call_id": self.ids.get(call_id, message.provider_id or call_id),
                    "content": content_text(message.content),
                }

    def _assistant(self, message: AssistantMessage) -> dict[str, Any]:
        calls: list[dict[str, Any]] = []
        reasoning: dict[str, str] = {}
        extra: Any = None
        for part in message.parts:
            match part:
                case Thinking():
                    mark = self._mark(part)
                    extra = mark.get("extra")
                    if isinstance(name := mark.get("field"), str):
                        reasoning[name] = reasoning.get(name, "") + part.text
                case ToolCall():
                    calls.append(self._call(part, extra))
                    extra = None
                case Text():
                    extra = None
        text = message.text
        written: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
        if calls:
            written |= {**reasoning, "tool_calls": calls}
        return written

    def _call(self, call: ToolCall, extra: Any) -> dict[str, Any]:
        # What was no JSON object is not sent back: strict endpoints refuse the history for it.
        arguments = orjson.dumps(call.parameters).decode()
        function = {"name": sent_name(call.name), "arguments": arguments}
        written = {"id": self.ids[call.id], "type": "function", "function": function}
        return {**written, "extra_content": extra} if extra else written

    def _mark(self, part: Thinking) -> dict[str, Any]:
        """Return what this model wants back; empty if another model wrote it."""
        if part.signature is None:
            return {}
        try:
            mark = orjson.loads(part.signature)
        except orjson.JSONDecodeError:
            return {}
        own = isinstance(mark, dict) and mark.get("provider") == MARK_PROVIDER
        return mark if own and mark.get("model") == self.model else {}


def _tool(spec: ToolSpec) -> dict[str, Any]:
    function = {
        "name": spec.name,
        "description": spec.description,
        "parameters": inlined(spec.parameters),
    }
    return {"type": "function", "function": function}


def _choice(choice: str) -> Any:
    if choice in {"none", "required"}:
        return choice
    return {"type": "function", "function": {"name": choice}}
