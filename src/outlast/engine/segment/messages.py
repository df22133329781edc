"""Recorded steps as a model reads them."""

from collections.abc import Iterable
from typing import Any

import orjson

from outlast.model.execution import ModelStep, Step, ToolStep
from outlast.model.message import AssistantMessage, Message, Part, ToolCall, ToolMessage


def messages_of(steps: Iterable[Step]) -> list[Message]:
    """Return recorded steps as messages of a conversation."""
    messages: list[Message] = []
    for step in steps:
        match step:
            case ModelStep(request_digest=""):
                messages.append(step.message)
            case ModelStep():
                messages.append(AssistantMessage(tuple(_said(step.message))))
            case ToolStep():
                call, read = step.call, _read(step)
                messages.append(
                    ToolMessage(call.id, call.name, read, step.is_error, images=step.images)
                )
    return messages


def _read(step: ToolStep) -> Any:
    """Return what the model reads of a result: after it, the reason of the approval."""
    if not step.note:
        return step.result
    result = step.result if isinstance(step.result, str) else orjson.dumps(step.result).decode()
    return f"{result}\n\nThe call was approved by a person. Reason: {step.note}"


def _said(message: AssistantMessage) -> Iterable[Part]:
    """Return the message without its tool calls: a code agent's function makes its own."""
    return (part for part in message.parts if not isinstance(part, ToolCall))
