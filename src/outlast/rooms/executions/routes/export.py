"""Export a conversation: lines of one JSON object each, with what it is of in `type`."""

from binascii import b2a_base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

import orjson
from starlette.responses import Response, StreamingResponse

from outlast.http.call import Call
from outlast.http.endpoint import Answer, Endpoint
from outlast.http.image import images_of
from outlast.model.clock import iso
from outlast.model.conversation import Conversation
from outlast.model.error import ConversationNotFound
from outlast.model.event import Entry
from outlast.model.event_codec import encode
from outlast.model.execution import Execution, ModelStep, Step
from outlast.model.ids import CONVERSATION
from outlast.model.image import WholeImage
from outlast.model.message import Text, Thinking, ToolCall
from outlast.model.workspace import Scope
from outlast.rooms.executions import render
from outlast.services.all import Services
from outlast.services.export import EntryOf, Export, Exported, ExportEnd, ImageOf, StepOf

NDJSON: Final = "application/x-ndjson"
_BATCH: Final = 32 * 1024
"""Bytes that are sent together, at least."""


async def export_conversation(call: Call, services: Services) -> Response:
    """Everything that is kept of the conversation, one JSON object a line, oldest first.

    Lines by `type`: conversation; execution, then its step, image and event lines; end, which a
    complete export ends with. What a turn has called, and what was superseded, is there too.
    """
    found = call.path_id("conversationId", CONVERSATION, ConversationNotFound)
    exported, agent = await services.conversations.export(call.principal, found)
    name = f'attachment; filename="{exported.conversation.id}.ndjson"'
    lines = _lines(exported, agent)
    return StreamingResponse(lines, headers={"Content-Disposition": name}, media_type=NDJSON)


async def _lines(exported: Export, agent: str) -> AsyncGenerator[bytes, None]:
    """Yield the lines, several at a time."""
    batch = [_line(_conversation(exported.conversation, agent))]
    size = len(batch[0])
    async with aclosing(exported.parts()) as parts:
        async for part in parts:
            line = _line(_shown(part))
            batch.append(line)
            size += len(line)
            if size >= _BATCH:
                yield b"".join(batch)
                batch.clear()
                size = 0
    yield b"".join(batch)


def _line(shown: dict[str, Any]) -> bytes:
    return orjson.dumps(shown) + b"\n"


def _shown(part: Exported) -> dict[str, Any]:
    match part:
        case Execution():
            return _execution(part)
        case StepOf(execution_id, step, superseded):
            return _step(execution_id, step, superseded=superseded)
        case ImageOf(execution_id, whole):
            return _image(execution_id, whole)
        case EntryOf(execution_id, entry):
            return _event(execution_id, entry)
        case ExportEnd(executions):
            return {"type": "end", "executions": executions}


def _conversation(row: Conversation, agent: str) -> dict[str, Any]:
    return {
        "type": "conversation",
        "id": row.id,
        "agentId": row.agent_id,
        "agentName": agent,
        "user": row.user,
        "session": row.session,
        "executionCount": row.turns,
        "createdAt": iso(row.created_at),
        "lastActiveAt": iso(row.last_active_at),
    }


def _execution(row: Execution) -> dict[str, Any]:
    """Return the execution object; its tool calls and approvals are in the lines that follow."""
    shown: dict[str, Any] = {**render.execution_of(row, "", [])}
    for name in ("agentName", "toolCalls", "pendingApprovals"):
        del shown[name]
    more = {"turn": row.turn, "session": row.session, "state": row.state}
    return {"type": "execution", **shown, **more, "superseded": row.superseded}


def _step(execution_id: str, step: Step, *, superseded: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "type": "step",
        "executionId": execution_id,
        "id": step.id,
        "number": step.number,
        "superseded": superseded,
        "startedAt": iso(step.started_at),
        "endedAt": iso(step.ended_at),
    }
    if isinstance(step, ModelStep):
        parts = step.message.parts
        return shown | {
            "kind": "model",
            "model": step.model,
            "finishReason": step.finish_reason,
            "usage": render.usage(step.usage),
            "text": "".join(part.text for part in parts if isinstance(part, Text)),
            "thinking": "".join(part.text for part in parts if isinstance(part, Thinking)),
            "toolCalls": [_call(part) for part in parts if isinstance(part, ToolCall)],
        }
    called = {"toolCallId": step.call.id, "name": step.call.name}
    given = {"parameters": step.call.parameters, "result": step.result, "isError": step.is_error}
    images = {"images": images_of(step.images)} if step.images else {}
    return shown | {"kind": "tool", **called, **given, "note": step.note, **images}


def _image(execution_id: str, whole: WholeImage) -> dict[str, Any]:
    data = b2a_base64(whole.data, newline=False).decode()
    return {"type": "image", "executionId": execution_id, **images_of([whole.image])[0]} | {
        "data": data
    }


def _call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "name": call.name, "parameters": call.parameters}


def _event(execution_id: str, entry: Entry) -> dict[str, Any]:
    return {
        "type": "event",
        "executionId": execution_id,
        "id": str(entry.cursor),
        "at": iso(entry.at),
        "kind": entry.event.kind,
        "data": orjson.Fragment(encode(entry.event)),
    }


ENDPOINTS: Final = (
    Endpoint(
        "GET",
        "/v1/conversations/{conversationId}/export",
        export_conversation,
        scope=Scope.EXECUTIONS_READ,
        name="exportConversation",
        summary="Export a conversation",
        tag="conversations",
        parameters={"conversationId": "The conversation's id."},
        answers={
            200: Answer(
                "One JSON object a line, as they are read.",
                content={NDJSON: {"schema": {"type": "string"}}},
            )
        },
        errors=(404,),
    ),
)
