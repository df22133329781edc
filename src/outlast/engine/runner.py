"""The life of a segment: take the execution, run step after step, end.

A finished step is never run again. What was running in a crash is decided by its effect: a model
request and a repeatable tool call run again, any other call becomes a question to a person.
"""

from dataclasses import dataclass, field

import structlog

from outlast.engine.asking import (
    Asker,
    approval,
    check_spent,
    failure_of,
    messages_of,
    needs_approval,
)
from outlast.engine.calling import Caller
from outlast.engine.ledger import Ledger
from outlast.engine.segment import Interrupted, Segment, Stop
from outlast.model.agent import Agent
from outlast.model.approval import Approval, ApprovalKind
from outlast.model.error import (
    AgentNotFound,
    BudgetExceeded,
    LimitExceeded,
    Misconfigured,
    OutlastError,
    Overloaded,
    StaleWrite,
)
from outlast.model.event import ApprovalRequested, Event, StepRetried
from outlast.model.execution import Execution, Failure, Status
from outlast.model.message import Message, ToolCall, UserMessage
from outlast.store.port import Store

logger = structlog.get_logger(__name__)

CRASHED = "The server stopped while this step ran."
_VERSIONS = 1000
"""Agent versions kept in memory."""

_Calls = tuple[tuple[int, ToolCall], ...]


@dataclass(slots=True)
class Runner:
    """Runs segments, each from its beginning to its end."""

    store: Store
    asker: Asker
    caller: Caller
    ledger: Ledger
    _versions: dict[tuple[str, int], Agent] = field(default_factory=dict)

    async def run(self, segment: Segment) -> None:
        """Run one segment. Raises StaleWrite where another worker has the execution.

        Raises Overloaded where the store fails: the execution stays as last committed.
        """
        try:
            segment.agent = agent = await self._agent(segment.execution)
        except (AgentNotFound, Misconfigured) as error:
            await self.ledger.refuse(segment, failure_of(error))
            return
        calls = await self._begin(segment, agent)
        try:
            await self._continue(segment, agent, calls)
        except Interrupted:
            await self._interrupted(segment)
        except (StaleWrite, Overloaded):
            raise
        except OutlastError as error:
            await self.ledger.fail(segment, failure_of(error))
        except Exception:
            logger.exception("execution.crashed", execution=segment.execution.id)
            failure = Failure("internal_error", "internal_error", "The server made a mistake.")
            await self.ledger.fail(segment, failure)

    async def _continue(self, segment: Segment, agent: Agent, calls: _Calls) -> None:
        """Step after step, until the execution rests or the segment is asked to end."""
        if segment.execution.cancel_requested:
            segment.stop(Stop.CANCEL)
        while segment.execution.status is Status.RUNNING:
            if segment.interrupted:
                raise Interrupted
            if seconds_left(segment, self.ledger.clock.monotonic()) <= 0:
                raise _out_of_time(segment)
            if calls:
                await self.caller.call(segment, agent.spec, calls)
            elif segment.unanswered():
                await self.ledger.suspend(segment)
                return
            else:
                check_spent(segment, agent.spec)
                await self.asker.ask(segment, agent)
            if segment.stopped is Stop.RELEASE and segment.execution.status is Status.RUNNING:
                await self.ledger.release(segment)
                return
            calls = _callable(segment, agent)

    async def _begin(self, segment: Segment, agent: Agent) -> _Calls:
        """Take the execution and answer which tool calls to run first."""
        execution = segment.execution
        crashed = execution.status is Status.RUNNING
        if execution.turn > 1:
            segment.history = await self._history(execution)
        if execution.segment > 0:
            segment.add(*await self.store.steps(execution.workspace_id, execution.id))
        if not crashed:
            await self.ledger.begin(segment, ())
            return _callable(segment, agent)
        return await self._take_over(segment, agent)

    async def _take_over(self, segment: Segment, agent: Agent) -> _Calls:
        """Begin after a crash: run again what may run again, ask a person about the rest."""
        asked = await self.store.approvals(segment.execution.workspace_id, segment.execution.id)
        known = {approval.tool_call_id for approval in asked}
        again: list[tuple[int, ToolCall]] = []
        events: list[Event] = []
        approvals: list[Approval] = []
        now = self.ledger.clock.now()
        for number, call in segment.unanswered():
            if call.id in known:
                continue
            if _repeatable(agent, call):
                again.append((number, call))
                events.append(StepRetried(number, CRASHED))
            else:
                kind = ApprovalKind.UNKNOWN_OUTCOME
                approvals.append(approval(segment, call, kind, now))
                events.append(
                    ApprovalRequested(number, call.id, call.name, call.parameters, kind.value)
                )
        if not segment.unanswered():
            events.append(StepRetried(segment.open_step, CRASHED))
        await self.ledger.begin(segment, tuple(events), approvals=tuple(approvals))
        return tuple(again)

    async def _interrupted(self, segment: Segment) -> None:
        match segment.stopped:
            case Stop.CANCEL:
                await self.ledger.cancel(segment)
            case Stop.LIMIT:
                await self.ledger.fail(segment, failure_of(_out_of_time(segment)))
            case Stop.ABANDON | Stop.RELEASE | None:
                logger.warning("segment.abandoned", execution=segment.execution.id)

    async def _history(self, execution: Execution) -> tuple[Message, ...]:
        turns = await self.store.turns(
            execution.workspace_id, execution.conversation_id, execution.id
        )
        messages: list[Message] = []
        for turn in turns:
            messages.append(UserMessage(turn.execution.input))
            messages.extend(messages_of(turn.steps))
        return tuple(messages)

    async def _agent(self, execution: Execution) -> Agent:
        key = (execution.agent_id, execution.agent_version)
        agent = self._versions.get(key)
        if agent is None:
            agent = await self.store.agent_version(execution.workspace_id, *key)
            if len(self._versions) >= _VERSIONS:
                self._versions.clear()
            self._versions[key] = agent
        return agent


def seconds_left(segment: Segment, monotonic: float) -> float:
    """Active time that the execution may still take."""
    if segment.agent is None:
        return float("inf")
    limits = (
        segment.agent.spec.limits.max_seconds,
        segment.execution.budget.max_seconds,
    )
    began = monotonic if segment.began is None else segment.began
    spent = segment.execution.active_ms / 1000 + monotonic - began
    return min((limit - spent for limit in limits if limit is not None), default=float("inf"))


def _out_of_time(segment: Segment) -> OutlastError:
    assert segment.agent is not None
    limit, budget = segment.agent.spec.limits.max_seconds, segment.execution.budget.max_seconds
    if budget is not None and (limit is None or budget < limit):
        return BudgetExceeded(f"The budget of {budget:g} seconds is spent.")
    return LimitExceeded(f"The agent's limit of {limit:g} seconds is reached.")


def _callable(segment: Segment, agent: Agent) -> _Calls:
    """The unanswered calls that need no person."""
    return tuple(
        (number, call)
        for number, call in segment.unanswered()
        if not needs_approval(agent.spec, call)
    )


def _repeatable(agent: Agent, call: ToolCall) -> bool:
    """A call that no tool could have served has had no effect either."""
    tool = agent.spec.tool(call.name)
    return tool is None or call.invalid is not None or tool.effect.repeatable
