"""Logs what executions do, from the commits of this process, like metrics.

A line holds ids, numbers and the operator's names: never content of a user, a model or a tool.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import structlog

from outlast.logs import enabled, line
from outlast.model.client_call import ClientCallAnswered, ClientCallRequested
from outlast.model.event import (
    ApprovalRequested,
    ApprovalResolved,
    ExecutionCancelled,
    ExecutionCompleted,
    ExecutionCreated,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionReleased,
    ExecutionResumed,
    ExecutionStarted,
    ExecutionSuspended,
    ModelFinished,
    StepRetried,
    ToolFinished,
)
from outlast.model.execution import Execution
from outlast.model.price import credits_of
from outlast.store.known_agents import KnownAgents
from outlast.store.listeners import Committed

logger = structlog.get_logger(__name__)

Tell: TypeAlias = Callable[[Execution, Any], None]

_UNKNOWN = "unknown"
_LONGEST = 100
"""Maximum characters of a provider's text."""
_UPSTREAM = "upstream_error"
"""Failures whose message is a provider's: it was logged with the failed request."""
_FROM_OUTSIDE = frozenset({"code_failed"})
"""Failures whose message is text of the operator's function, and may quote its input."""


class Activity:
    """Logs each start, end and rest of an execution; at level debug each step."""

    def __init__(self, agents: KnownAgents) -> None:
        self._agents = agents
        self._tells: dict[type, Tell] = {
            ExecutionStarted: self._started,
            ExecutionCompleted: self._ended,
            ExecutionFailed: self._failed,
            ExecutionCancelled: self._ended,
            ExecutionSuspended: self._suspended,
            ExecutionPaused: self._paused,
            ExecutionResumed: self._resumed,
            ExecutionReleased: self._released,
            ApprovalRequested: self._approval_requested,
            ApprovalResolved: self._approval_decided,
            ClientCallRequested: self._client_call_requested,
            ClientCallAnswered: self._client_call_answered,
        }
        self._all: dict[type, Tell] = self._tells | {
            ExecutionCreated: self._created,
            ModelFinished: self._model_finished,
            ToolFinished: self._tool_finished,
            StepRetried: self._step_retried,
        }

    def committed(self, committed: Committed) -> None:
        """Log a commit of this process."""
        execution = committed.execution
        if execution is None:
            return
        tells = self._all if enabled("debug") else self._tells
        for entry in committed.entries:
            if (tell := tells.get(type(entry.event))) is not None:
                tell(execution, entry.event)

    # --- the execution

    def _created(self, execution: Execution, _event: ExecutionCreated) -> None:
        line("debug", "execution.created", self._accepted, execution)

    def _accepted(self, execution: Execution) -> dict[str, Any]:
        return self._of(execution) | {
            "conversation": execution.conversation_id,
            "key_id": execution.key_id,
            "waiting": execution.waiting,
        }

    def _started(self, execution: Execution, _event: ExecutionStarted) -> None:
        if execution.segment > 1:
            line("info", "execution.continued", self._progress, execution)
        else:
            line("info", "execution.started", self._start, execution)

    def _start(self, execution: Execution) -> dict[str, Any]:
        at = execution.created_at if execution.started_at is None else execution.started_at
        return {
            "execution": execution.id,
            "agent": self._name(execution),
            "conversation": execution.conversation_id,
            "key_id": execution.key_id,
            "waited_ms": at - execution.created_at,
        }

    def _ended(self, execution: Execution, _event: ExecutionCompleted | ExecutionCancelled) -> None:
        line("info", "execution.ended", self._end, execution)

    def _failed(self, execution: Execution, event: ExecutionFailed) -> None:
        shown = event.type != _UPSTREAM and event.code not in _FROM_OUTSIDE
        shown = shown and not execution.is_client_driven
        cause = {"cause": event.message} if shown else {}
        logger.warning("execution.ended", **self._end(execution), code=event.code, **cause)

    def _end(self, execution: Execution) -> dict[str, Any]:
        ended = execution.updated_at if execution.completed_at is None else execution.completed_at
        return {
            "execution": execution.id,
            "agent": self._name(execution),
            "segment": execution.segment,
            "steps": execution.steps,
            "tokens": execution.usage.total_tokens,
            "active_ms": execution.active_ms,
            "status": execution.status.value,
            "credits": credits_of(execution.credits),
            "ms": ended - execution.created_at,
        }

    def _progress(self, execution: Execution) -> dict[str, Any]:
        return self._of(execution) | {
            "segment": execution.segment,
            "steps": execution.steps,
            "tokens": execution.usage.total_tokens,
            "active_ms": execution.active_ms,
        }

    def _suspended(self, execution: Execution, _event: ExecutionSuspended) -> None:
        line("info", "execution.suspended", self._progress, execution)

    def _paused(self, execution: Execution, _event: ExecutionPaused) -> None:
        line("info", "execution.paused", self._progress, execution)

    def _released(self, execution: Execution, _event: ExecutionReleased) -> None:
        line("info", "execution.released", self._progress, execution)

    def _resumed(self, execution: Execution, event: ExecutionResumed) -> None:
        line("info", "execution.resumed", self._resumption, execution, event)

    def _resumption(self, execution: Execution, event: ExecutionResumed) -> dict[str, Any]:
        return self._of(execution) | {
            "checkpoint": event.checkpoint_id,
            "key_id": event.decided_by,
        }

    # --- its steps

    def _approval_requested(self, execution: Execution, event: ApprovalRequested) -> None:
        if event.execution_id is None:  # else the child's own log has said it
            line("info", "approval.requested", self._question, execution, event)

    def _question(self, execution: Execution, event: ApprovalRequested) -> dict[str, Any]:
        return self._of(execution) | {
            "tool": self._tool(execution, event.name),
            "tool_call": event.tool_call_id,
            "kind": event.approval_kind,
        }

    def _approval_decided(self, execution: Execution, event: ApprovalResolved) -> None:
        if event.execution_id is None:
            line("info", "approval.decided", self._decision, execution, event)

    def _decision(self, execution: Execution, event: ApprovalResolved) -> dict[str, Any]:
        return self._of(execution) | {
            "tool_call": event.tool_call_id,
            "approved": event.approved,
            "key_id": event.decided_by,
        }

    def _client_call_requested(self, execution: Execution, event: ClientCallRequested) -> None:
        line("info", "client_call.requested", self._client_call, execution, event)

    def _client_call(self, execution: Execution, event: ClientCallRequested) -> dict[str, Any]:
        return self._of(execution) | {
            "tool": self._tool(execution, event.name),
            "tool_call": event.tool_call_id,
        }

    def _client_call_answered(self, execution: Execution, event: ClientCallAnswered) -> None:
        line("info", "client_call.answered", self._client_result, execution, event)

    def _client_result(self, execution: Execution, event: ClientCallAnswered) -> dict[str, Any]:
        return self._of(execution) | {
            "tool_call": event.tool_call_id,
            "is_error": event.is_error,
            "key_id": event.decided_by,
        }

    def _model_finished(self, execution: Execution, event: ModelFinished) -> None:
        logger.debug(
            "model.answered",
            **self._of(execution),
            step=event.step,
            model=event.model[:_LONGEST],
            finish_reason=event.finish_reason[:_LONGEST],
            input_tokens=event.input_tokens,
            output_tokens=event.output_tokens,
            estimated=event.estimated,
            credits=credits_of(event.charged),
        )

    def _tool_finished(self, execution: Execution, event: ToolFinished) -> None:
        if event.execution_id is None:  # else the child's own log has said it
            line("debug", "tool.answered", self._tool_call, execution, event)

    def _tool_call(self, execution: Execution, event: ToolFinished) -> dict[str, Any]:
        return self._of(execution) | {
            "step": event.step,
            "tool": self._tool(execution, event.name),
            "tool_call": event.tool_call_id,
            "is_error": event.is_error,
            "ms": event.duration_ms,
        }

    def _step_retried(self, execution: Execution, event: StepRetried) -> None:
        line("debug", "step.retried", self._retry, execution, event)

    def _retry(self, execution: Execution, event: StepRetried) -> dict[str, Any]:
        return self._of(execution) | {"step": event.step}

    # --- names

    def _of(self, execution: Execution) -> dict[str, Any]:
        return {"execution": execution.id, "agent": self._name(execution)}

    def _name(self, execution: Execution) -> str:
        """Return the agent's name; its id if this process has not read the agent."""
        agent = self._agents.seen(execution)
        return execution.agent_id if agent is None else agent.spec.name

    def _tool(self, execution: Execution, name: str) -> str:
        """Return the tool's name if the agent has such a tool: a model may make up any other."""
        agent = self._agents.seen(execution)
        known = agent is not None and agent.spec.has(name)
        return name if known else _UNKNOWN
