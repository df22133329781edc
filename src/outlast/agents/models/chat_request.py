"""A ModelRequest as the body of an OpenAI chat completion.

Source of the format: OpenAI API reference, "Create chat completion". Thinking is not sent; a
tool call goes back under the provider's id where it gave one.
"""

from typing import Any

import orjson

from outlast.agents.port import ModelRequest
from outlast.model.agent import ToolSpec
from outlast.model.message import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage


def encode(model: str, request: ModelRequest, limit_name: str = "max_tokens") -> bytes:
    """The body; limit_name is what this endpoint calls the limit on output tokens."""
    body: dict[str, Any] = {
        **request.settings,
        "model": model,
        "messages": _messages(request),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if "max_tokens" in body and limit_name != "max_tokens":
        body[limit_name] = body.pop("max_tokens")
    if request.tools:
        body["tools"] = [_tool(spec) for spec in request.tools]
        if request.tool_choice != "auto":
            body["tool_choice"] = _choice(request.tool_choice)
    return orjson.dumps(body)


def content_text(content: Any) -> str:
    """A tool's answer as a model reads it: JSON, or the text itself."""
    return content if isinstance(content, str) else orjson.dumps(content).decode()


def _messages(request: ModelRequest) -> list[dict[str, Any]]:
    messages = [_message(message) for message in request.messages]
    if request.instructions:
        messages.insert(0, {"role": "system", "content": request.instructions})
    return messages


def _message(message: Message) -> dict[str, Any]:
    match message:
        case UserMessage():
            return {"role": "user", "content": message.text}
        case AssistantMessage():
            return _assistant(message)
        case ToolMessage():
            return {
                "role": "tool",
                "tool_call_id": message.provider_id or message.tool_call_id,
                "content": content_text(message.content),
            }


def _assistant(message: AssistantMessage) -> dict[str, Any]:
    calls = message.tool_calls
    text = message.text
    written: dict[str, Any] = {"role": "assistant", "content": text or (None if calls else "")}
    if calls:
        written["tool_calls"] = [_call(call) for call in calls]
    return written


def _call(call: ToolCall) -> dict[str, Any]:
    # What was not a JSON object is not sent back: strict endpoints refuse the whole history for it.
    arguments = orjson.dumps(call.parameters).decode()
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.provider_id or call.id, "type": "function", "function": function}


def _tool(spec: ToolSpec) -> dict[str, Any]:
    function = {
        "name": spec.name,
        "description": spec.description,
        "parameters": spec.parameters,
    }
    return {"type": "function", "function": function}


def _choice(choice: str) -> Any:
    if choice in {"none", "required"}:
        return choice
    return {"type": "function", "function": {"name": choice}}
