"""Renders the core's values for the executions room. Pure functions."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from outlast.http.image import images_of
from outlast.model import agent as core_agent
from outlast.model import execution as core
from outlast.model import usage as core_usage
from outlast.model.clock import iso, iso_or_none
from outlast.model.execution import ModelStep, Step, ToolStep
from outlast.model.ids import MESSAGE
from outlast.model.memory import Access, MemoryAccess
from outlast.model.price import credits_of
from outlast.model.schedule import Schedule
from outlast.model.wait import Wait
from outlast.rooms.executions import answers
from outlast.rooms.executions.answers import (
    Agent,
    AgentPage,
    Cancelled,
    Conversation,
    Execution,
    ExecutionPage,
    Failure,
    ReadOnlyStore,
    ScheduleSummary,
    ToolCall,
    Turn,
    Usage,
)
from outlast.rooms.executions.render.pending import (
    KINDS,
    pending_approvals,
    pending_client_calls,
    pending_inputs,
)
from outlast.services.conversations import ConversationSummary, ConversationView
from outlast.services.executions import ExecutionView


def execution(view: ExecutionView) -> Execution:
    """The execution object."""
    calls = tool_calls(view.steps)
    shown = execution_of(view.execution, view.agent, calls, view.approvals, view.spent)
    if calls_of_client := pending_client_calls(view):
        shown["pendingClientCalls"] = calls_of_client
    if inputs := pending_inputs(view):
        shown["pendingInputs"] = inputs
    return shown


def _listed(view: ExecutionView, link: Callable[[str], str]) -> Execution:
    """Return the execution object, marked if it is cut."""
    shown = execution(view)
    if view.cut:
        url = link(f"/v1/executions/{view.execution.id}")
        shown["truncated"] = {"fields": list(view.cut), "url": url}
    return shown


def execution_of(
    row: core.Execution,
    agent: str,
    calls: list[ToolCall],
    approvals: Iterable[Wait] = (),
    spent: core_usage.Spent | None = None,
) -> Execution:
    """Return the execution object, from its row and the finished tool calls.

    `spent`: by it and by those that it has called; None: it has called none.
    """
    spent = core_usage.Spent(row.usage, row.credits) if spent is None else spent
    ended = row.completed_at if row.completed_at is not None else row.updated_at
    found: Execution = {
        "id": row.id,
        "agentId": row.agent_id,
        "agentName": agent,
        "conversationId": row.conversation_id,
        "parentId": row.parent_id,
        "status": row.shown_status.value,
        "input": row.input,
        "output": row.output,
        "error": _failure(row.error),
        "toolCalls": calls,
        "pendingApprovals": pending_approvals(row, approvals),
        "usage": usage(spent.usage),
        "creditsUsed": credits_of(spent.credits),
        "timing": {
            "totalMs": max(0, ended - row.created_at),
            "firstTokenMs": row.first_token_ms,
            "toolCallMs": row.tool_ms,
        },
        "user": row.user,
        "metadata": row.metadata,
        "isPurged": row.is_purged,
        "createdAt": iso(row.created_at),
        "startedAt": iso_or_none(row.started_at),
        "completedAt": iso_or_none(row.completed_at),
    }
    if row.memory_stores:
        found["memoryStores"] = [_memory_store(one) for one in row.memory_stores]
    if row.superseded:
        found["superseded"] = True
    if row.origin.schedule_id is not None:
        found["schedule"] = {
            "scheduleId": row.origin.schedule_id,
            "scheduledAt": iso_or_none(row.origin.scheduled_at),
            "late": row.origin.late,
            "missed": row.origin.missed,
        }
    return found


def _memory_store(store: MemoryAccess) -> str | ReadOnlyStore:
    """Return it as a request names it."""
    if store.access is Access.READ_WRITE:
        return store.id
    return {"id": store.id, "access": "read_only"}


def _failure(failure: core.Failure | None) -> Failure | None:
    if failure is None:
        return None
    return {"type": failure.type, "code": failure.code, "message": failure.message}


def usage(found: core_usage.Usage) -> Usage:
    """Return the tokens."""
    return {
        "inputTokens": found.input_tokens,
        "outputTokens": found.output_tokens,
        "totalTokens": found.total_tokens,
        "cacheReadTokens": found.cache_read_tokens,
        "cacheWriteTokens": found.cache_write_tokens,
        "estimated": found.estimated,
    }


def tool_calls(steps: Iterable[Step]) -> list[ToolCall]:
    """Return the finished tool calls, in the order in which the model named them."""
    return [_tool_call(step) for step in steps if isinstance(step, ToolStep)]


def _tool_call(step: ToolStep) -> ToolCall:
    shown: ToolCall = {
        "id": step.call.id,
        "name": step.call.name,
        "parameters": step.call.parameters,
        "result": step.result,
        "isError": step.is_error,
        "duration": step.duration_ms,
    }
    if step.images:
        shown["images"] = images_of(step.images)
    return shown


def page(
    views: Sequence[ExecutionView],
    link: Callable[[str], str] = str,
    *,
    more: bool,
    backwards: bool,
) -> ExecutionPage:
    """Return a list's page; its cursor continues in the direction of the walk."""
    return {
        "data": [_listed(view, link) for view in views],
        "hasMore": more,
        "nextCursor": _next([view.execution.id for view in views], more=more, backwards=backwards),
    }


def _next(ids: Sequence[str], *, more: bool, backwards: bool) -> str | None:
    if not more or not ids:
        return None
    return ids[0] if backwards else ids[-1]


def cancelled(view: ExecutionView) -> Cancelled:
    """Return the object of a cancelled execution."""
    row = view.execution
    return {
        "id": row.id,
        "status": row.shown_status.value,
        "output": row.output,
        "usage": usage(view.spent.usage),
    }


def approval(found: Wait) -> answers.Approval:
    """Return an approval with the proposed, decided and effective arguments."""
    return {
        "executionId": found.execution_id,
        "toolCallId": found.tool_call_id,
        "name": found.name,
        "kind": KINDS[found.kind],
        "parameters": found.parameters,
        "effectiveParameters": found.arguments,
        "approved": found.approved,
        "reason": found.reason,
        "result": found.result,
        "decidedBy": found.decided_by,
        "requestedAt": iso(found.requested_at),
        "decidedAt": iso_or_none(found.decided_at),
        "expiresAt": iso_or_none(found.due_at),
    }


def approvals(found: Sequence[Wait], *, more: bool) -> answers.ApprovalPage:
    """Return a page of approvals."""
    last = f"{found[-1].execution_id}.{found[-1].tool_call_id}" if more else None
    return {"data": [approval(one) for one in found], "hasMore": more, "nextCursor": last}


def conversations(found: Sequence[ConversationSummary], *, more: bool) -> answers.ConversationPage:
    """Return a page of conversations."""
    last = found[-1].conversation if more else None
    return {
        "data": [_summary(one) for one in found],
        "hasMore": more,
        "nextCursor": None if last is None else f"{last.last_active_at}.{last.id}",
    }


def _summary(found: ConversationSummary) -> answers.ConversationSummary:
    row = found.conversation
    return {
        "id": row.id,
        "agentId": row.agent_id,
        "agentName": found.agent,
        "user": row.user,
        "executionCount": row.turns,
        "createdAt": iso(row.created_at),
        "lastActiveAt": iso(row.last_active_at),
    }


def conversation(view: ConversationView) -> Conversation:
    """Return a conversation with its turns."""
    found = view.conversation
    turns = [turn for past in view.turns for turn in _turns(past.execution, past.steps)]
    return {
        "id": found.id,
        "agentId": found.agent_id,
        "turns": turns,
        "tokenCount": sum(past.execution.usage.total_tokens for past in view.turns),
        "turnCount": len(turns),
        "createdAt": iso(found.created_at),
        "lastActiveAt": iso(found.last_active_at),
    }


def _turns(row: core.Execution, steps: Sequence[Step]) -> list[Turn]:
    """Return the user's message, and the assistant's answer so far.

    The user's message shares its UUID with the execution, the assistant's with its last model step.
    """
    turns: list[Turn] = [
        {
            "id": _message_id(row.id),
            "executionId": row.id,
            "role": "user",
            "content": row.input,
            "timestamp": iso(row.created_at),
        }
    ]
    answers = [step for step in steps if isinstance(step, ModelStep)]
    if answers:
        turns.append(
            {
                "id": _message_id(answers[-1].id),
                "executionId": row.id,
                "role": "assistant",
                "content": row.output or "",
                "toolCalls": tool_calls(steps),
                "timestamp": iso(answers[-1].ended_at),
            }
        )
    return turns


def _message_id(of: str) -> str:
    return f"{MESSAGE}_{of.rpartition('_')[2]}"


def agent(found: core_agent.Agent, schedules: Iterable[Schedule]) -> Agent:
    """Return an agent without the operator's data: where its tools are and how they are called."""
    spec = found.spec
    return {
        "id": found.id,
        "name": spec.name,
        "description": spec.description,
        "model": core_agent.shown_model(spec.model),
        "instructions": spec.instructions,
        "tools": [
            {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "effect": tool.effect.value,
            }
            for tool in spec.tools
        ],
        "version": found.version,
        "paused": found.paused,
        "schedules": [schedule_summary(one) for one in schedules],
        "createdAt": iso(found.created_at),
        "updatedAt": iso(found.updated_at),
    }


def agents(
    found: Sequence[core_agent.Agent],
    schedules: Mapping[str, Sequence[Schedule]],
    *,
    more: bool,
    backwards: bool,
) -> AgentPage:
    """Return a page of agents."""
    cursor = _next([one.id for one in found], more=more, backwards=backwards)
    return {
        "data": [agent(one, schedules[one.id]) for one in found],
        "hasMore": more,
        "nextCursor": cursor,
        "nextToken": cursor,
    }


def schedule_summary(found: Schedule) -> ScheduleSummary:
    """Return a schedule as its agent shows it."""
    made = found.definition
    return {
        "id": found.id,
        "name": found.name,
        "cron": made.cron,
        "times": list(made.times) if made.cron is None else None,
        "timezone": made.timezone,
        "status": "active" if found.is_active else "paused",
        "pausedReason": found.paused_reason,
        "nextRunAt": iso_or_none(found.next_run),
        "lastRunAt": iso_or_none(found.last_run_at),
    }
