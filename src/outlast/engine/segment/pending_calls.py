"""Tool calls without a result: which run, which run again, which wait.

An approved call runs with the arguments as the person left them. Its start is committed before it
runs, so that after a crash behind that commit a person decides again, and it is not run twice.
"""

from dataclasses import dataclass, replace
from typing import Final

from outlast.engine.segment.call_waits import CallWaits
from outlast.engine.segment.children import Children, children_started
from outlast.engine.segment.inputs import closed, is_lost
from outlast.engine.segment.segment import Segment
from outlast.engine.segment.step_events import requested
from outlast.engine.segment.writer import SegmentWriter
from outlast.model.agent import Agent, AgentSpec
from outlast.model.event import Event, StepRetried, ToolStarted
from outlast.model.execution import ToolStep
from outlast.model.ids import STEP
from outlast.model.message import ToolCall
from outlast.model.wait import Wait, WaitKind
from outlast.store.store import Store
from outlast.store.waits.above import requested_of_client
from outlast.store.waits.decide import answered

CRASHED = "The server stopped while this step ran."
AT_ONCE: Final = 20
"""Maximum results recorded in one commit; each may be large."""


@dataclass(frozen=True, slots=True)
class PendingCalls:
    """Settles the waits of the newest answer's calls."""

    store: Store
    writer: SegmentWriter
    call_waits: CallWaits
    children: Children

    async def read(self, segment: Segment) -> None:
        """Read the waits of the execution."""
        execution = segment.execution
        found = await self.store.waits.of(execution.workspace_id, execution.id)
        segment.know(found)

    async def settle(self, segment: Segment, agent: Agent) -> bool:
        """Apply all decisions; return False and do nothing while one is open.

        Results and denials are recorded; approved calls are then `callable`, or wait for the party
        that runs them.
        """
        if not segment.waits_read:
            await self.read(segment)
        segment.waits_read = False
        waiting = [(n, call, segment.waits[call.id]) for n, call in segment.unanswered()]
        if any(wait.is_open for _, _, wait in waiting):
            return False
        steps = [
            (self._decided_step(number, call, wait), wait.has_result)
            for number, call, wait in waiting
            if not wait.runs
        ]
        for first in range(0, len(steps), AT_ONCE):
            await self.writer.record_results(segment, steps[first : first + AT_ONCE])
        approved = [item for item in waiting if item[2].runs]
        if approved:
            await self._begin(segment, agent, approved)
        return True

    async def _begin(
        self, segment: Segment, agent: Agent, approved: list[tuple[int, ToolCall, Wait]]
    ) -> None:
        """Commit that approved calls are about to run, or wait for the party that runs them."""
        now = self.writer.clock.now()
        new = [one for one in approved if one[2].is_approval]
        events = tuple(
            ToolStarted(number, call.id, call.name, wait.arguments) for number, call, wait in new
        )
        made = [
            self.call_waits.behind_approval(agent.spec, number, call, wait, now)
            for number, call, wait in new
        ]
        if len(new) < len(approved):
            await self._read_handles(segment, agent)
        given = [wait for wait in made if wait is not None]
        waits, children = await self.children.of(segment, agent.spec, given)
        run = {call.id: found.arguments for _, call, found in approved if call.id not in waits}
        client = [wait for wait in waits.values() if wait.is_client]
        await self.writer.record(
            segment,
            (*events, *map(requested_of_client, client), *children_started(children, waits)),
            waits=tuple(waits.values()),
            children=children,
            begun=tuple(run),
        )
        segment.waits.update(waits)
        segment.approved.update(run)

    def _decided_step(self, number: int, call: ToolCall, wait: Wait) -> ToolStep:
        """Return the step of a call that does not run here, with what was decided."""
        now = self.writer.clock.now()
        began, ended = now, now
        if not wait.is_approval and wait.decided_at is not None:
            began, ended = wait.requested_at, max(wait.requested_at, wait.decided_at)
        return ToolStep(
            self.writer.clock.new_id(STEP),
            number,
            replace(call, parameters=wait.arguments),
            wait.result if wait.has_result else _denied(wait),
            is_error=wait.is_error,
            started_at=began,
            ended_at=ended,
            note=wait.note if wait.has_result else "",
        )

    async def take_over(self, segment: Segment, agent: Agent) -> None:
        """Continue after a crash: run repeatable calls again, let a person decide the others."""
        now = self.writer.clock.now()
        events: list[Event] = []
        questions: list[Wait] = []
        again: list[Wait] = []
        if segment.unanswered():
            await self._read_handles(segment, agent)
        for number, call in segment.unanswered():
            known = segment.waits.get(call.id)
            if known is not None and not _was_begun(known):
                continue  # it waits, or the decision was not applied yet
            ended = None if known is None else closed(known, now)
            if ended is not None:
                events.append(answered(ended))
            if call.id in segment.handles or repeatable(agent.spec, call):
                events.append(StepRetried(number, CRASHED))
                if known is not None:
                    segment.approved[call.id] = known.arguments
                if ended is not None:
                    again.append(ended)
            else:
                question = _unknown(segment, number, call, now)
                questions.append(question)
                events.append(requested(question))
        if not segment.unanswered():
            events.append(StepRetried(segment.open_step, CRASHED))
        if events:
            await self.writer.record(segment, tuple(events), waits=(*questions, *again))
        segment.waits.update({wait.tool_call_id: wait for wait in (*questions, *again)})

    async def _read_handles(self, segment: Segment, agent: Agent) -> None:
        """Read by what results are found of calls that servers work on by themselves."""
        if agent.spec.sources:
            execution = segment.execution
            found = await self.store.executions.handles(execution.workspace_id, execution.id)
            segment.handles = {call_id: one.handle for call_id, one in found.open.items()}

    def cut_off(self, segment: Segment) -> tuple[Wait, ...]:
        """Return waits for calls that an end cuts off, decided if the execution is resumed."""
        if segment.agent is None:
            return ()
        spec, now = segment.agent.spec, self.writer.clock.now()
        return tuple(
            _unknown(segment, number, call, now)
            for number, call in segment.in_flight.values()
            if not repeatable(spec, call)
        )


def _was_begun(wait: Wait) -> bool:
    """Whether the call ran when the process ended."""
    return is_lost(wait) or (wait.is_approval and wait.begun_at is not None)


def _denied(approval: Wait) -> str:
    if approval.kind is WaitKind.UNKNOWN_OUTCOME:
        outcome = (
            "The call was interrupted; whether it took effect is unknown, and it was given up."
        )
    elif approval.decided_by is None:
        outcome = "The call was not approved in time; the tool did not run."
    else:
        outcome = "The call was denied; the tool did not run."
    return f"{outcome} Reason: {approval.reason}" if approval.reason else outcome


def _unknown(segment: Segment, number: int, call: ToolCall, at: int) -> Wait:
    """Return a wait for a person's decision on a call, with the arguments that it ran with."""
    known = segment.waits.get(call.id)
    return Wait(
        segment.execution.id,
        call.id,
        WaitKind.UNKNOWN_OUTCOME,
        call.name,
        call.parameters if known is None else known.parameters,
        at,
        effective_parameters=None if known is None else known.effective_parameters,
        step=number,
    )


def repeatable(spec: AgentSpec, call: ToolCall) -> bool:
    """Whether the call may run again; a call without a matching tool has had no effect.

    A source may have had the tool when the call began, and list it no longer.
    """
    if call.invalid is not None:
        return True
    tool = spec.tool(call.name)
    if tool is None:
        return spec.source_of(call.name) is None
    return tool.effect.repeatable
