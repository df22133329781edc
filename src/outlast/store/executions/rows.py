"""Rows of executions to values and back."""

from typing import Any

import orjson

from outlast.model.execution import (
    TERMINAL,
    Budget,
    Execution,
    Failure,
    PauseRequest,
    RequestContext,
    Status,
)
from outlast.model.usage import Usage
from outlast.store.driver import Row
from outlast.store.tables import to_json


def execution_from(row: Row) -> Execution:
    """Read all columns of `executions` in the order of the schema."""
    return Execution(
        id=row[0],
        workspace_id=row[1],
        agent_id=row[2],
        agent_version=row[3],
        conversation_id=row[4],
        turn=row[5],
        parent_id=row[6],
        key_id=row[7],
        input=row[8],
        metadata=orjson.loads(row[9]),
        session=orjson.loads(row[10]),
        budget=Budget(**orjson.loads(row[11])),
        created_at=row[12],
        status=Status(row[13]),
        segment=row[14],
        waiting=bool(row[15]),
        updated_at=row[16],
        started_at=row[17],
        completed_at=row[18],
        output=row[19],
        error=None if row[20] is None else Failure(**orjson.loads(row[20])),
        usage=Usage(row[21], row[22], row[23], row[24], bool(row[25])),
        steps=row[26],
        final_model=row[27],
        first_token_ms=row[28],
        tool_ms=row[29],
        active_ms=row[30],
        cancel_requested=bool(row[31]),
        is_purged=bool(row[32]),
        pause_requested=None if row[33] is None else PauseRequest(**orjson.loads(row[33])),
        superseded_tokens=row[34],
        superseded_to=row[35],
        resumed_ms=row[36],
        state={} if row[37] is None else orjson.loads(row[37]),
        origin=RequestContext(row[38] or "", row[39], row[40], row[41], row[47]),
        active_since=row[42],
        credits=row[43],
        tries=row[44],
        user=row[45],
        superseded=bool(row[46]),
    )


def identity_columns(execution: Execution) -> dict[str, Any]:
    """The columns that never change."""
    return {
        "id": execution.id,
        "workspace_id": execution.workspace_id,
        "agent_id": execution.agent_id,
        "agent_version": execution.agent_version,
        "conversation_id": execution.conversation_id,
        "turn": execution.turn,
        "parent_id": execution.parent_id,
        "key_id": execution.key_id,
        "input": execution.input,
        "metadata": to_json(execution.metadata),
        "session": to_json(execution.session),
        "budget": to_json(execution.budget),
        "created_at": execution.created_at,
        "cancel_requested": execution.cancel_requested,
        "is_purged": execution.is_purged,
        "pause_requested": None
        if execution.pause_requested is None
        else to_json(execution.pause_requested),
        "superseded_to": execution.superseded_to,
        "resumed_ms": execution.resumed_ms,
        "state": to_json(execution.state) if execution.state else None,
        "instructions": execution.origin.instructions or None,
        "chat_id": execution.origin.chat_id,
        "format": execution.origin.format,
        "end_user": execution.user,
        "superseded": execution.superseded,
        "message_id": execution.origin.message_id,
        "purging": False,
    }


def mutable_columns(execution: Execution, prefix: str = "") -> dict[str, Any]:
    """The columns that `advance` writes."""
    usage = execution.usage
    return {
        f"{prefix}status": execution.status.value,
        f"{prefix}segment": execution.segment,
        f"{prefix}waiting": execution.waiting,
        f"{prefix}updated_at": execution.updated_at,
        f"{prefix}started_at": execution.started_at,
        f"{prefix}completed_at": execution.completed_at,
        f"{prefix}output": execution.output,
        f"{prefix}error": None if execution.error is None else to_json(execution.error),
        f"{prefix}input_tokens": usage.input_tokens,
        f"{prefix}output_tokens": usage.output_tokens,
        f"{prefix}cache_read_tokens": usage.cache_read_tokens,
        f"{prefix}cache_write_tokens": usage.cache_write_tokens,
        f"{prefix}usage_estimated": usage.estimated,
        f"{prefix}steps": execution.steps,
        f"{prefix}final_model": execution.final_model,
        f"{prefix}first_token_ms": execution.first_token_ms,
        f"{prefix}tool_ms": execution.tool_ms,
        f"{prefix}active_ms": execution.active_ms,
        f"{prefix}superseded_tokens": execution.superseded_tokens,
        f"{prefix}forwarded_headers": None
        if execution.status in TERMINAL
        else execution.origin.headers,
        f"{prefix}active_since": execution.active_since,
        f"{prefix}credits": execution.credits,
        f"{prefix}tries": execution.tries,
    }


def without_message(text: str) -> str:
    """A failure without its words."""
    return to_json(orjson.loads(text) | {"message": ""})
