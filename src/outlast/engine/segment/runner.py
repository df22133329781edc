"""The life of a segment: take the execution, run step after step, end.

A finished step is never run again. What was running in a crash is decided by its effect: a model
request and a repeatable tool call run again, any other call needs a person's decision.
"""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Final

import structlog
from structlog.contextvars import bind_contextvars

from outlast.agents.tools.client_kind import with_client_tools
from outlast.engine.code_agents.runner import CodeAgentRunner
from outlast.engine.segment.history import Histories
from outlast.engine.segment.last_resort import without_progress
from outlast.engine.segment.limits import check_spent, too_dear, too_many_steps
from outlast.engine.segment.memory import MemoryTools
from outlast.engine.segment.model_steps import ModelSteps, failure_of, is_answered
from outlast.engine.segment.pending_calls import PendingCalls
from outlast.engine.segment.segment import LEFT, Interrupted, Segment, Stop
from outlast.engine.segment.time_left import out_of_time, seconds_left
from outlast.engine.segment.tool_calls import ToolCalls
from outlast.engine.segment.writer import SegmentWriter
from outlast.engine.unwanted_calls import UnwantedCalls
from outlast.model.agent import Agent
from outlast.model.error import (
    AgentNotFound,
    Misconfigured,
    OutlastError,
    Overloaded,
    Refused,
    StaleWrite,
)
from outlast.model.execution import (
    OUR_MISTAKE,
    REFUSED,
    UNREADABLE,
    Failure,
    Status,
)
from outlast.model.unreadable import ExecutionUnreadable, TurnUnreadable
from outlast.store.known_agents import KnownAgents
from outlast.store.store import Store

_BEGINNINGS: Final = 64
"""Segments that begin at once. What begins with them shares each turn of the loop with requests."""

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Runner:
    """Runs segments, each from its beginning to its end."""

    store: Store
    model_steps: ModelSteps
    tool_calls: ToolCalls
    writer: SegmentWriter
    pending_calls: PendingCalls
    code_agents: CodeAgentRunner
    agents: KnownAgents
    histories: Histories
    unwanted: UnwantedCalls
    max_tries: int
    """Segments begun without a recorded step before an execution fails."""
    _beginning: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_BEGINNINGS))
    """Held from a segment's first look at its agent to the commit that begins it."""

    async def run(self, segment: Segment) -> None:
        """Run one segment. Raises StaleWrite if another worker has the execution.

        Raises Overloaded if the store fails: the execution stays as last committed. Raises anything
        else if the execution could not be read, or its end not be written.
        """
        async with self._beginning:
            agent = await self._agent(segment)
            if agent is None or not (segment.begun or await self._begun(segment)):
                return
        try:
            await self._read(segment)
            agent = await self._with_listed(segment, agent)
            if segment.takes_over:
                await self.pending_calls.take_over(segment, agent)
            await self._continue(segment, agent)
        except Interrupted:
            await self._interrupted(segment)
        except (StaleWrite, Overloaded):
            raise
        except Refused:
            logger.exception("execution.refused")
            await self._fail(segment, REFUSED)
        except TurnUnreadable as error:
            logger.exception("execution.turn_unreadable", turn=error.execution_id)
            await self._fail(segment, failure_of(error))
        except ExecutionUnreadable:
            logger.exception("execution.crashed")
            await self._fail(segment, UNREADABLE)
        except OutlastError as error:
            await self._fail(segment, failure_of(error))
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException:
            logger.exception("execution.crashed")
            await self._fail(segment, OUR_MISTAKE)

    async def _fail(self, segment: Segment, failure: Failure) -> None:
        """Fail the execution, or pause it if its task is configured so."""
        execution = segment.execution
        task = await self.store.tasks.get(execution.workspace_id, execution.id)
        if task is not None and task.pauses(failure.code):
            segment.pause_reason = failure.message
            for tool_call_id in tuple(segment.requesting):
                await self.tool_calls.inputs.withdraw(segment, tool_call_id)
            await self.writer.pause(segment, self.pending_calls.cut_off(segment))
        else:
            open_calls = await self.unwanted.open_calls(segment.execution, segment.agent)
            await self.writer.fail(segment, failure, self.pending_calls.cut_off(segment))
            open_calls.give_up()

    async def _continue(self, segment: Segment, agent: Agent) -> None:
        """Make steps until the execution rests or the segment is stopped."""
        if segment.execution.pause_requested is not None:
            segment.pause(segment.execution.pause_requested)
        if segment.execution.cancel_requested:
            segment.stop(Stop.CANCEL)
        while segment.execution.status is Status.RUNNING:
            if segment.interrupted:
                raise Interrupted
            if segment.pausing:
                await self.writer.pause(segment)
                return
            await self._step(segment, agent)
            if segment.stopped is Stop.RELEASE and segment.execution.status is Status.RUNNING:
                await self.writer.release(segment)

    async def _step(self, segment: Segment, agent: Agent) -> None:
        """Make the next step: calls that may run, calls that were decided, or the model."""
        if seconds_left(segment, self.writer.clock.monotonic()) <= 0:
            raise out_of_time(segment, self.writer.clock.monotonic())
        if calls := segment.callable():
            error = too_many_steps(segment, agent.spec, len(calls), len(calls))
            made = [call for _, call in calls]
            error = error or too_dear(segment, agent.spec, self.writer.prices, made)
            if error is not None:
                raise error
            await self.tool_calls.call(segment, agent.spec, calls)
        elif segment.unanswered():
            if not await self.pending_calls.settle(segment, agent):
                await self.writer.suspend(segment)
        elif agent.spec.code is not None:
            await self.code_agents.run(segment, agent)
        elif is_answered(segment):
            await self.model_steps.end(segment, agent)
        else:
            check_spent(segment, agent.spec)
            await self.model_steps.ask(segment, agent)

    async def _agent(self, segment: Segment) -> Agent | None:
        """Return the agent; None if it cannot run, and the execution has failed."""
        try:
            agent = await self.agents.of(segment.execution)
            if declared := segment.execution.origin.client_tools:
                tools = with_client_tools(agent.spec, declared)
                agent = replace(agent, spec=replace(agent.spec, tools=tools))
            if segment.execution.memory_stores:
                memory = MemoryTools(self.store.memories)
                agent = await memory.added(agent, segment.execution)
            segment.agent = agent
            bind_contextvars(agent=agent.spec.name)
            self.code_agents.require(agent.spec)
        except (AgentNotFound, Misconfigured) as error:
            await self.writer.refuse(segment, failure_of(error))
            return None
        return agent

    async def _begun(self, segment: Segment) -> bool:
        """Take the execution before reading it; return False if its tries are used up."""
        execution = segment.execution
        if segment.counted and execution.tries >= self.max_tries:
            logger.error("execution.without_progress", tries=execution.tries)
            segment.began = self.writer.clock.monotonic()
            await self._fail(segment, without_progress(execution.tries))
            return False
        await self.writer.begin(segment)
        return True

    async def _with_listed(self, segment: Segment, agent: Agent) -> Agent:
        """Return the agent with the tools that its sources list; they stay for the segment.

        Without them, what a crash has left open is for a person, as nothing says what it did.
        """
        if not agent.spec.sources:
            return agent
        try:
            spec = await self.tool_calls.listed(segment, agent.spec)
        except (OutlastError, Interrupted):
            if segment.takes_over and segment.stopped not in LEFT:
                await self.pending_calls.take_over(segment, agent)
            raise
        segment.agent = replace(agent, spec=spec)
        return segment.agent

    async def _read(self, segment: Segment) -> None:
        """Read history and steps."""
        execution = segment.execution
        try:
            if execution.turn > 1:
                segment.history = await self.histories.of(execution)
            if segment.continues:
                of = execution.workspace_id, execution.id
                steps, waits = await self.store.executions.recorded(*of)
                segment.add(*steps)
                if segment.unanswered():
                    segment.know(waits)
        except OutlastError:
            raise
        except Exception as error:
            raise ExecutionUnreadable(execution.id) from error

    async def _interrupted(self, segment: Segment) -> None:
        match segment.stopped:
            case Stop.CANCEL:
                open_calls = await self.unwanted.open_calls(segment.execution, segment.agent)
                await self.writer.cancel(segment, self.pending_calls.cut_off(segment))
                open_calls.give_up()
            case Stop.LIMIT:
                await self._fail(
                    segment, failure_of(out_of_time(segment, self.writer.clock.monotonic()))
                )
            case Stop.PAUSE | Stop.PAUSE_NOW:
                await self.writer.pause(segment)
            case Stop.REFUSED:
                await self._fail(segment, REFUSED)
            case Stop.LEAVE:
                await self.writer.leave(segment)
            case Stop.ABANDON | Stop.RELEASE | None:
                logger.warning("segment.abandoned", execution=segment.execution.id)
