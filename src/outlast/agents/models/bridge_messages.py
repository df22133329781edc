"""Translates messages to pydantic-ai's and back.

What a provider wants back unchanged (signatures, ids of its items) is kept in `Thinking.signature`
as JSON: {provider, at, id, signature, details}. The mark of a text or a tool call is an empty
Thinking before it, with `next: true`. Marks are sent only to the provider that made them (`at`: the
operator's name of it, which may be one account of several), and thinking
without a mark is not sent.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import orjson
from pydantic_ai import messages as theirs

from outlast.agents.models.assemble import ANY_ID, OPENAI_ID, read_arguments, sent_ids, sent_name
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
from outlast.model.text import storable

_WORD_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_IDS: Final = {
    "anthropic": _WORD_ID,
    "bedrock": _WORD_ID,
    "mistral": re.compile(r"[a-zA-Z0-9]{9}"),
    "openai": OPENAI_ID,
}
"""Ids of tool calls that a provider accepts, if it does not accept any."""


def to_theirs(request: ModelRequest, provider: str, at: str = "") -> list[theirs.ModelMessage]:
    """Return the history for a provider; consecutive messages of one side are merged.

    `at`: the operator's name of the provider, if it has one.
    """
    written: list[theirs.ModelMessage] = []
    request_parts: list[theirs.ModelRequestPart] = []
    ids_sent = sent_ids(request.messages, _IDS.get(provider, ANY_ID))
    for message in request.messages:
        if isinstance(message, AssistantMessage):
            _end_request(written, request_parts, request.instructions)
            parts = _response_parts(message, provider, at, ids_sent)
            if parts:
                written.append(theirs.ModelResponse(parts=parts, provider_name=provider))
        else:
            request_parts.append(_request_part(request, message, ids_sent))
    _end_request(written, request_parts, request.instructions)
    return written


def _end_request(
    written: list[theirs.ModelMessage], parts: list[theirs.ModelRequestPart], instructions: str
) -> None:
    if parts:
        written.append(theirs.ModelRequest(parts=list(parts), instructions=instructions or None))
        parts.clear()


def _request_part(
    request: ModelRequest, message: UserMessage | ToolMessage, ids_sent: dict[str, str]
) -> theirs.ModelRequestPart:
    match message:
        case UserMessage():
            return theirs.UserPromptPart(content=message.text)
        case ToolMessage():
            call_id = message.tool_call_id
            return theirs.ToolReturnPart(
                tool_name=sent_name(message.name),
                content=_content(request, message),
                tool_call_id=ids_sent.get(call_id, message.provider_id or call_id),
                outcome="failed" if message.is_error else "success",
            )


def _content(request: ModelRequest, message: ToolMessage) -> Any:
    """Return a result; with its images, where the model is shown any."""
    shown = request.shown(message)
    if not shown:
        return message.content
    images = (
        theirs.BinaryContent(data, media_type=image.media_type, identifier=image.id)
        for image, data in shown
    )
    return [message.content, *images]


def _response_parts(
    message: AssistantMessage, provider: str, at: str, ids_sent: dict[str, str]
) -> list[theirs.ModelResponsePart]:
    written: list[theirs.ModelResponsePart] = []
    mark: dict[str, Any] = {}
    for part in message.parts:
        if isinstance(part, Thinking):
            mark = _read_mark(part.signature, provider, at)
            if mark and not mark.pop("next", False):
                signature = mark.pop("signature", None)
                written.append(theirs.ThinkingPart(part.text, signature=signature, **mark))
                mark = {}
            continue
        written.append(_spoken(part, mark, ids_sent))
        mark = {}
    return written


def _spoken(
    part: Text | ToolCall, mark: dict[str, Any], ids_sent: dict[str, str]
) -> theirs.ModelResponsePart:
    match part:
        case Text():
            return theirs.TextPart(part.text, **mark)
        case ToolCall():
            name, call_id = sent_name(part.name), ids_sent[part.id]
            return theirs.ToolCallPart(name, part.parameters, call_id, **mark)


def _read_mark(signature: str | None, provider: str, at: str) -> dict[str, Any]:
    """Return a mark as fields of pydantic-ai's parts; empty if another provider wrote it."""
    try:
        mark = orjson.loads(signature or "")
    except orjson.JSONDecodeError:
        return {}
    if not isinstance(mark, dict) or mark.get("provider") != provider:
        return {}
    if mark.pop("at", at) != at:  # marks of 0.2 have none
        return {}
    names = {"provider": "provider_name", "details": "provider_details"}
    return {names.get(str(name), str(name)): value for name, value in mark.items()}


def to_ours(
    parts: Sequence[theirs.ModelResponsePart], clock: Clock, provider: str, at: str = ""
) -> AssistantMessage:
    """Return an answer as a message; unsupported parts are left out, tool calls come last.

    Raises TypeError if a part holds something other than text: SDKs do not validate.
    """
    spoken: list[Part] = []
    calls: list[Part] = []
    for part in parts:
        match part:
            case theirs.TextPart():
                _add_text(spoken, part, provider)
            case theirs.ThinkingPart():
                signature = _mark(part, provider, signature=part.signature)
                if part.content or signature:
                    spoken.append(Thinking(text_of(part.content), signature))
            case theirs.ToolCallPart():
                calls += _note(part, provider)
                calls.append(_call(part, clock))
            case _:
                pass
    return AssistantMessage(tuple(_placed(part, at) for part in (*spoken, *calls)))


def _placed(part: Part, at: str) -> Part:
    """Return the part with the operator's name of the provider in its mark."""
    if not (at and isinstance(part, Thinking) and part.signature):
        return part
    return Thinking(part.text, _json({**orjson.loads(part.signature), "at": at}))


def _add_text(spoken: list[Part], part: theirs.TextPart, provider: str) -> None:
    if not part.content:
        return
    content = text_of(part.content)
    if spoken and isinstance(spoken[-1], Text):
        spoken[-1] = Text(spoken[-1].text + content)
    else:
        spoken += _note(part, provider)
        spoken.append(Text(content))


def _call(part: theirs.ToolCallPart, clock: Clock) -> ToolCall:
    arguments = part.args if isinstance(part.args, str) else _json(part.args or {})
    parameters, invalid = read_arguments(arguments)
    name, call_id = text_of(part.tool_name), text_of(part.tool_call_id)
    return ToolCall(clock.new_id(ids.TOOL_CALL), name, parameters, invalid, call_id)


def text_of(value: Any) -> str:
    """Return the text. Raises TypeError if an SDK has put something else in its place."""
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} in place of text")
    return value


def _json(value: Any) -> str:
    value = storable(value)
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # a whole number beyond 64 bits
        return json.dumps(value, default=str)


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
    return _json(mark)
