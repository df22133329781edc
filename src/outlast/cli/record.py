"""An execution as JSON in the words of the HTTP API, for commands that read it without a server."""

from typing import Any

from outlast.model.clock import iso, iso_or_none
from outlast.model.execution import Execution, ToolStep
from outlast.services.executions import ExecutionView


def execution_json(execution: Execution) -> dict[str, Any]:
    """The execution without what its steps recorded."""
    error, usage = execution.error, execution.usage
    return {
        "id": execution.id,
        "agentId": execution.agent_id,
        "conversationId": execution.conversation_id,
        "parentId": execution.parent_id,
        "status": execution.status.value,
        "input": execution.input,
        "output": execution.output,
        "error": error and {"type": error.type, "code": error.code, "message": error.message},
        "usage": {
            "inputTokens": usage.input_tokens,
            "outputTokens": usage.output_tokens,
            "totalTokens": usage.total_tokens,
            "cacheReadTokens": usage.cache_read_tokens,
            "cacheWriteTokens": usage.cache_write_tokens,
        },
        "metadata": execution.metadata,
        "createdAt": iso(execution.created_at),
        "startedAt": iso_or_none(execution.started_at),
        "completedAt": iso_or_none(execution.completed_at),
    }


def view_json(view: ExecutionView) -> dict[str, Any]:
    """The execution with its tool calls and the approvals that wait."""
    calls = [_call(step) for step in view.steps if isinstance(step, ToolStep)]
    waiting = [
        {
            "toolCallId": approval.tool_call_id,
            "name": approval.name,
            "parameters": approval.parameters,
            "kind": approval.kind.value,
        }
        for approval in view.approvals
        if approval.decided_at is None
    ]
    return {**execution_json(view.execution), "toolCalls": calls, "pendingApprovals": waiting}


def _call(step: ToolStep) -> dict[str, Any]:
    return {
        "id": step.call.id,
        "name": step.call.name,
        "parameters": step.call.parameters,
        "result": step.result,
        "duration": step.duration_ms,
    }
