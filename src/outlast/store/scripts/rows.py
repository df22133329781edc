"""Rows to values and back. JSON travels as text, whatever the column's type."""

from typing import Any

import orjson

from outlast.model.approval import Approval, ApprovalKind
from outlast.model.checkpoint import Checkpoint
from outlast.model.conversation import Conversation
from outlast.store.driver import Row
from outlast.store.tables import to_json


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
