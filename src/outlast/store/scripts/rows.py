"""Rows to values and back. JSON travels as text, whatever the column's type."""

from typing import Any

import orjson

from outlast.model.approval import Approval, ApprovalKind
from outlast.model.charge import Charge
from outlast.model.checkpoint import Checkpoint
from outlast.model.conversation import Conversation
from outlast.model.event import Entry, decode
from outlast.model.execution import (
    TERMINAL,
    Budget,
    Execution,
    Failure,
    ModelStep,
    Origin,
    PauseRequest,
    Status,
    Step,
    ToolStep,
)
from outlast.model.message import AssistantMessage, Part, Text, Thinking, ToolCall
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
        origin=Origin(row[38] or "", row[39], row[40], row[41], row[47]),
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


def entry_from(row: Row) -> Entry:
    """Read segment, seq, at, kind, data of an event."""
    return Entry(row[0], row[1], row[2], decode(row[3], row[4]))


def step_columns(execution_id: str, step: Step) -> dict[str, Any]:
    """A step's row; what it says is JSON in `data`."""
    kind, data = _step_data(step)
    return {
        "execution_id": execution_id,
        "number": step.number,
        "id": step.id,
        "kind": kind,
        "data": to_json(data),
        "started_at": step.started_at,
        "ended_at": step.ended_at,
        "superseded": False,
    }


def _step_data(step: Step) -> tuple[str, dict[str, Any]]:
    match step:
        case ModelStep():
            return "model", {
                "parts": [_part_to_json(part) for part in step.message.parts],
                "model": step.model,
                "usage": step.usage,
                "finishReason": step.finish_reason,
                **({"asked": step.asked} if step.asked else {}),
            }
        case ToolStep():
            return "tool", {
                "call": _part_to_json(step.call),
                "result": step.result,
                "isError": step.is_error,
                **({"note": step.note} if step.note else {}),
            }


def step_from(row: Row) -> Step:
    """Read execution_id, number, id, kind, data, started_at, ended_at of a step."""
    _, number, step_id, kind, text, started_at, ended_at = row
    data = orjson.loads(text)
    if kind == "tool":
        call = _part_from_json(data["call"])
        assert isinstance(call, ToolCall)
        return ToolStep(
            step_id,
            number,
            call,
            data["result"],
            data["isError"],
            started_at,
            ended_at,
            data.get("note", ""),
        )
    return ModelStep(
        step_id,
        number,
        AssistantMessage(tuple(_part_from_json(part) for part in data["parts"])),
        data["model"],
        Usage(**data["usage"]),
        data["finishReason"],
        started_at,
        ended_at,
        data.get("asked", ""),
    )


def without_content(kind: str, text: str) -> str:
    """A step's data without what was said, asked and answered."""
    data = orjson.loads(text)
    if kind == "model":
        kept = {name: data[name] for name in ("model", "usage", "finishReason")}
        return to_json({"parts": [], **kept})
    call = {name: data["call"][name] for name in ("id", "name")}
    return to_json({"call": {**call, "parameters": {}}, "result": None, "isError": data["isError"]})


def without_message(text: str) -> str:
    """A failure without its words."""
    return to_json(orjson.loads(text) | {"message": ""})


def _part_to_json(part: Part) -> Any:
    match part:
        case Text():
            return {"text": part.text}
        case Thinking():
            return {"thinking": part.text, "signature": part.signature}
        case ToolCall():
            return part


def _part_from_json(data: dict[str, Any]) -> Part:
    if "text" in data:
        return Text(data["text"])
    if "thinking" in data:
        return Thinking(data["thinking"], data["signature"])
    return ToolCall(**data)


def charge_columns(execution: Execution, charge: Charge) -> dict[str, Any]:
    """A charge's row."""
    return {
        "execution_id": execution.id,
        "id": charge.id,
        "workspace_id": execution.workspace_id,
        "step": charge.step,
        "kind": charge.kind,
        "name": charge.name,
        "input_tokens": charge.usage.input_tokens,
        "output_tokens": charge.usage.output_tokens,
        "credits": charge.credits,
        "at": charge.at,
    }


def charge_from(row: Row) -> Charge:
    """Read id, step, kind, name, input_tokens, output_tokens, credits, at of a charge."""
    charge_id, step, kind, name, input_tokens, output_tokens, credits_, at = row
    return Charge(charge_id, step, kind, name, credits_, at, Usage(input_tokens, output_tokens))


def checkpoint_columns(checkpoint: Checkpoint) -> dict[str, Any]:
    """A checkpoint's row."""
    return {
        "execution_id": checkpoint.execution_id,
        "id": checkpoint.id,
        "step": checkpoint.step,
        "at": checkpoint.at,
        "label": checkpoint.label,
        "state": None if checkpoint.state is None else to_json(checkpoint.state),
        "superseded": checkpoint.superseded,
        "missing": to_json(checkpoint.missing) if checkpoint.missing else None,
    }


def checkpoint_from(row: Row) -> Checkpoint:
    """Read all columns of `checkpoints`."""
    execution_id, checkpoint_id, step, at, label, state, superseded, missing = row
    return Checkpoint(
        checkpoint_id,
        execution_id,
        step,
        at,
        label,
        None if state is None else orjson.loads(state),
        bool(superseded),
        () if missing is None else tuple(orjson.loads(missing)),
    )


def approval_columns(workspace_id: str, approval: Approval) -> dict[str, Any]:
    """An approval's row."""
    return {
        "workspace_id": workspace_id,
        "execution_id": approval.execution_id,
        "tool_call_id": approval.tool_call_id,
        "kind": approval.kind.value,
        "name": approval.name,
        "parameters": to_json(approval.parameters),
        "requested_at": approval.requested_at,
        "decided_at": approval.decided_at,
        "approved": approval.approved,
        "reason": approval.reason,
        "effective_parameters": None
        if approval.effective_parameters is None
        else to_json(approval.effective_parameters),
        "result": to_json(approval.result) if approval.has_result else None,
        "decided_by": approval.decided_by,
        "step": approval.step,
        "begun_at": approval.begun_at,
        "expires_at": approval.expires_at,
        "expires_approved": approval.expires_approved,
        "superseded": approval.superseded,
    }


def approval_from(row: Row) -> Approval:
    """Read all columns of `approvals`."""
    return Approval(
        execution_id=row[0],
        tool_call_id=row[1],
        kind=ApprovalKind(row[2]),
        name=row[3],
        parameters=orjson.loads(row[4]),
        requested_at=row[5],
        decided_at=row[6],
        approved=None if row[7] is None else bool(row[7]),
        reason=row[8],
        effective_parameters=None if row[9] is None else orjson.loads(row[9]),
        result=None if row[10] is None else orjson.loads(row[10]),
        has_result=row[10] is not None,
        decided_by=row[11],
        step=row[12],
        begun_at=row[13],
        expires_at=row[14],
        expires_approved=bool(row[15]),
        superseded=bool(row[16]),
    )


def conversation_from(row: Row) -> Conversation:
    """Read all columns of `conversations`."""
    conversation_id, workspace_id, agent_id, turns, session, created_at, last_active_at, user = row
    return Conversation(
        conversation_id,
        workspace_id,
        agent_id,
        created_at,
        last_active_at,
        turns,
        orjson.loads(session),
        user,
    )
