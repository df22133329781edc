"""Estimates of a request's tokens, used wherever no provider counted them."""

from collections.abc import Iterator
from typing import Final

import orjson

from outlast.agents.port import ModelRequest
from outlast.model.message import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage
from outlast.model.text import storable
from outlast.model.usage import Usage, estimate_tokens

IMAGE_TOKENS: Final = 5_000
"""Estimate of one image, whatever its size: more than what large models count at most."""


def request_tokens(request: ModelRequest) -> int:
    """Return the estimated input tokens: instructions, messages, images, tools."""
    text = estimate_tokens("\n".join(_read(request)))
    return text + IMAGE_TOKENS * len(request.images)


def estimated_usage(request: ModelRequest, message: AssistantMessage) -> Usage:
    """Return the estimated usage of a request and its answer."""
    return Usage(request_tokens(request), answer_tokens(message), estimated=True)


def answer_tokens(message: AssistantMessage) -> int:
    """Return the estimated tokens of an answer: each of its parts is rounded up."""
    return sum(
        estimate_tokens(_call(part) if isinstance(part, ToolCall) else part.text)
        for part in message.parts
    )


def _read(request: ModelRequest) -> Iterator[str]:
    yield request.instructions
    for message in request.messages:
        yield from _said(message)
    for tool in request.tools:
        yield f"{tool.name} {tool.description} {_json(tool.parameters)}"


def _said(message: Message) -> Iterator[str]:
    match message:
        case UserMessage(text):
            yield text
        case AssistantMessage():
            yield message.text
            yield from map(_call, message.tool_calls)
        case ToolMessage(content=str(text)):
            yield text
        case ToolMessage():
            yield _json(message.content)


def _call(call: ToolCall) -> str:
    return call.name + (call.invalid or _json(call.parameters))


def _json(value: object) -> str:
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # half of a surrogate pair: an answer is counted before it is made storable
        return orjson.dumps(storable(value), default=str).decode()
