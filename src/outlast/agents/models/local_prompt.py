"""Builds the prompt of a small local model: from ModelRequest to llama.cpp's request body.

A model of 135M parameters follows examples, not rules. So instructions may hold examples, and they
reach the model as turns of the conversation:

    You answer customers of a shop about their orders.

    User: Where is my order ORD-90001?
    lookup_order: orderId: ORD-90001, status: returned
    Assistant: Your order ORD-90001 has the status: returned.

A tool's result is written into the user's turn in the same form, `tool: key: value, …`. Tools are
never offered for the model to choose from: with tool_choice auto or none it answers in plain text.
Where one tool is forced, its parameters' schema constrains what the model writes. A string without
`pattern` or `enum` is a guess; with a pattern such as `^ORD-[0-9]{5}$` it is copied from the
question.
"""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import orjson

from outlast.agents.port import ModelRequest
from outlast.model.agent import ToolSpec
from outlast.model.error import ModelRejected
from outlast.model.message import AssistantMessage, Message, ToolMessage, UserMessage

MAX_TOKENS: Final = 256
"""Default limit of an answer: small models tend not to stop."""

_SETTINGS: Final = ("temperature", "top_p", "seed", "stop")
_USER: Final = "User:"
_ASSISTANT: Final = "Assistant:"

Turn: TypeAlias = dict[str, str]
"""One message of a chat: role and content."""


def forced_tool(request: ModelRequest) -> ToolSpec | None:
    """Return the tool that this answer must call, if any.

    Raises ModelRejected if it is not among the tools, or if the model would have to choose.
    """
    if request.tool_choice in {"auto", "none"}:
        return None
    if request.tool_choice == "required":
        if len(request.tools) != 1:
            raise ModelRejected(
                "A local model cannot choose among tools; name the one it must call in toolChoice."
            )
        return request.tools[0]
    for tool in request.tools:
        if tool.name == request.tool_choice:
            return tool
    raise ModelRejected(
        f"toolChoice names the tool {request.tool_choice!r}, which the agent lacks."
    )


def body(request: ModelRequest, tool: ToolSpec | None) -> dict[str, Any]:
    """Return the chat completion request for llama.cpp's server."""
    given: dict[str, Any] = {
        name: request.settings[name] for name in _SETTINGS if name in request.settings
    }
    written: dict[str, Any] = {
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
        **given,
        **({} if (limit := request.answer_limit) is None else {"max_tokens": limit}),
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
    }
    if tool is None:
        return {**written, "messages": answer_turns(request)}
    return {
        **written,
        "messages": argument_turns(request.messages, tool),
        "response_format": _schema(tool),
    }


def answer_turns(request: ModelRequest) -> list[Turn]:
    """Return instructions, their examples, then the conversation with tool results."""
    rules, examples = _split(request.instructions)
    system = [{"role": "system", "content": rules}] if rules else []
    return [*system, *examples, *_conversation(request.messages)]


def argument_turns(messages: tuple[Message, ...], tool: ToolSpec) -> list[Turn]:
    """Return turns that request one tool's arguments, from the last user message."""
    fields = ", ".join(_field(name, spec) for name, spec in _properties(tool).items())
    rules = (
        f"Read the user's message and fill in the arguments of the tool {tool.name}"
        f" ({tool.description}): {fields}. Answer with a JSON object. Copy values from the message."
    )
    texts = [message.text for message in messages if isinstance(message, UserMessage)]
    return [
        {"role": "system", "content": rules},
        {"role": "user", "content": texts[-1] if texts else ""},
    ]


def _properties(tool: ToolSpec) -> dict[str, Any]:
    properties = tool.parameters.get("properties", {})
    return properties if isinstance(properties, dict) else {}


def _field(name: str, spec: Any) -> str:
    described = spec.get("description") if isinstance(spec, dict) else None
    return f"{name} ({described})" if described else name


def _schema(tool: ToolSpec) -> dict[str, Any]:
    schema = {"type": "object", "additionalProperties": False, **tool.parameters}
    return {"type": "json_schema", "json_schema": {"name": tool.name, "schema": schema}}


def _split(instructions: str) -> tuple[str, list[Turn]]:
    """Split rules and examples: `User:` opens a turn, `Assistant:` answers, a blank line ends."""
    rules: list[str] = []
    turns: list[Turn] = []
    in_example = False
    for line in instructions.splitlines():
        if line.startswith(_USER):
            turns.append({"role": "user", "content": line.removeprefix(_USER).strip()})
            in_example = True
        elif in_example and line.startswith(_ASSISTANT):
            turns.append({"role": "assistant", "content": line.removeprefix(_ASSISTANT).strip()})
        elif in_example and line.strip():
            turns[-1]["content"] += f"\n{line.strip()}"
        else:
            in_example = False
            rules.append(line)
    return "\n".join(rules).strip(), turns


def _conversation(messages: Iterable[Message]) -> list[Turn]:
    turns: list[Turn] = []
    for message in messages:
        match message:
            case UserMessage(text):
                _say(turns, "user", text)
            case AssistantMessage():
                _say(turns, "assistant", message.text)
            case ToolMessage(name=name, content=content):
                _say(turns, "user", f"{name}: {_flat(content)}")
    return turns


def _say(turns: list[Turn], role: str, text: str) -> None:
    """Append to the last turn if the role is the same: chat templates want alternating roles."""
    if not text:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += f"\n{text}"
    else:
        turns.append({"role": role, "content": text})


def _flat(content: Any) -> str:
    """Return a tool's result as `key: value, …`, best for a small model; JSON if nested."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict) and not any(isinstance(v, dict | list) for v in content.values()):
        return ", ".join(f"{key}: {_scalar(value)}" for key, value in content.items())
    return orjson.dumps(content).decode()


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()
