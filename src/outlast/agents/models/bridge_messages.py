"""Our messages as pydantic-ai's, and theirs as ours.

What a provider wants back unchanged (signatures, ids of its items) travels in `Thinking.signature`
as JSON: {provider, id, signature, details}. A mark that belongs to a text or a tool call is an
empty Thinking before it, with `next: true`. Marks go back to the provider that made them, to no
other, and thinking without a mark is not sent.
"""

from collections.abc import Sequence
from typing import Any

import orjson
from pydantic_ai import messages as theirs

from outlast.agents.models.assemble import read_arguments
from outlast.agents.port import ModelRequest
from outlast.model import ids
from outlast.model.clock import Clock
from outlast.model.message import (
    AssistantMessage,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    UserMessage,
)


def to_theirs(request: ModelRequest, provider: str) -> list[theirs.ModelMessage]:
    """The history for a provider; messages of one side that follow each other become one."""
    written: list[theirs.ModelMessage] = []
    asked: list[theirs.ModelRequestPart] = []
    for message in request.messages:
        if isinstance(message, AssistantMessage):
            _end_request(written, asked, request.instructions)
            parts = _response_parts(message, provider)
            if parts:
                written.append(theirs.ModelResponse(parts=parts, provider_name=provider))
        else:
            asked.append(_request_part(message))
    _end_request(written, asked, request.instructions)
    return written


def _end_request(
    written: list[theirs.ModelMessage], asked: list[theirs.ModelRequestPart], instructions: str
) -> None:
    if asked:
        written.append(theirs.ModelRequest(parts=list(asked), instructions=instructions or None))
        asked.clear()


def _request_part(message: UserMessage | ToolMessage) -> theirs.ModelRequestPart:
    match message:
        case UserMessage():
            return theirs.UserPromptPart(content=message.text)
        case ToolMessage():
            return theirs.ToolReturnPart(
                tool_name=message.name,
                content=message.content,
                tool_call_id=message.provider_id or message.tool_call_id,
                outcome="failed" if message.is_error else "success",
            )


def _response_parts(message: AssistantMessage, provider: str) -> list[theirs.ModelResponsePart]:
    written: list[theirs.ModelResponsePart] = []
    mark: dict[str, Any] = {}
    for part in message.parts:
        if isinstance(part, Thinking):
            mark = _read_mark(part.signature, provider)
            if mark and not mark.pop("next", False):
                signature = mark.pop("signature", None)
                written.append(theirs.ThinkingPart(part.text, signature=signature, **mark))
                mark = {}
            continue
        written.append(_spoken(part, mark))
        mark = {}
    return written


def _spoken(part: Text | ToolCall, mark: dict[str, Any]) -> theirs.ModelResponsePart:
    match part:
        case Text():
            return theirs.TextPart(part.text, **mark)
        case ToolCall():
            call_id = part.provider_id or part.id
            return theirs.ToolCallPart(part.name, part.parameters, call_id, **mark)


def _read_mark(signature: str | None, provider: str) -> dict[str, Any]:
    """A mark in the words of pydantic-ai's parts; empty where another provider wrote it."""
    try:
        mark = orjson.loads(signature or "")
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(mark, dict) or mark.get("provider") != provider:
        return {}
    names = {"provider": "provider_name", "details": "provider_details"}
    return {names.get(str(name), str(name)): value for name, value in mark.items()}


def to_ours(
    parts: Sequence[theirs.ModelResponsePart], clock: Clock, provider: str
) -> AssistantMessage:
    """An answer; parts that Outlast has no word for are left out, tool calls come last."""
    spoken: list[Part] = []
    calls: list[Part] = []
    for part in parts:
        match part:
            case theirs.TextPart():
                _add_text(spoken, part, provider)
            case theirs.ThinkingPart():
                signature = _mark(part, provider, signature=part.signature)
                if part.content or signature:
                    spoken.append(Thinking(part.content, signature))
            case theirs.ToolCallPart():
                calls += _note(part, provider)
                calls.append(_call(part, clock))
            case _:
                pass
    return AssistantMessage((*spoken, *calls))


def _add_text(spoken: list[Part], part: theirs.TextPart, provider: str) -> None:
    if not part.content:
        return
    if spoken and isinstance(spoken[-1], Text):
        spoken[-1] = Text(spoken[-1].text + part.content)
    else:
        spoken += _note(part, provider)
        spoken.append(Text(part.content))


def _call(part: theirs.ToolCallPart, clock: Clock) -> ToolCall:
    text = part.args if isinstance(part.args, str) else orjson.dumps(part.args or {}).decode()
    parameters, invalid = read_arguments(text)
    return ToolCall(
        clock.new_id(ids.TOOL_CALL), part.tool_name, parameters, invalid, part.tool_call_id
    )


def _note(part: theirs.TextPart | theirs.ToolCallPart, provider: str) -> list[Part]:
    mark = _mark(part, provider, next=True)
    return [] if mark is None else [Thinking("", mark)]


def _mark(
    part: theirs.TextPart | theirs.ToolCallPart | theirs.ThinkingPart, provider: str, **more: Any
) -> str | None:
    found = {"id": part.id, "details": part.provider_details, "signature": more.get("signature")}
    kept = {name: value for name, value in found.items() if value}
    if not kept:
        return None
    extra = {"next": True} if more.get("next") else {}
    mark = {"provider": part.provider_name or provider, **kept, **extra}
    return orjson.dumps(mark, default=str).decode()
