"""Commits of a segment: every change of a running execution."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from outlast.agents.estimate import request_tokens
from outlast.agents.prices.price_list import PriceList
from outlast.engine.segment.browsers import counted, uncharged_seconds, written
from outlast.engine.segment.reservations import still_reserved
from outlast.engine.segment.segment import NOTHING_BESIDE, CallRecord, Segment, StepText, Stop
from outlast.engine.segment.step_events import finished, requested, suspended
from outlast.engine.segment.text_log import TextLog
from outlast.model.budget import Reservation
from outlast.model.charge import Charge
from outlast.model.checkpoint import Checkpoint
from outlast.model.clock import Clock
from outlast.model.event import (
    Event,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionPaused,
    ExecutionReleased,
    ExecutionStarted,
)
from outlast.model.execution import (
    TERMINAL,
    Execution,
    Failure,
    ModelStep,
    PauseRequest,
    Status,
    Step,
    ToolStep,
    advanced,
)
from outlast.model.ids import CHECKPOINT, STEP
from outlast.model.message import AssistantMessage
from outlast.model.price import BROWSER_SECONDS
from outlast.model.usage import NO_USAGE, Usage, estimate_tokens, estimate_tokens_of
from outlast.model.wait import Wait, awaited
from outlast.store.executions.store import ExecutionStore
from outlast.store.executions.values import Advance, NewChild

CUT_OFF: Final = frozenset({"cancelled", "error"})
"""Finish reasons of incomplete answers; nothing continues from them."""

Result: TypeAlias = tuple[ToolStep, bool]
"""(step, whether it ran and is charged)."""


@dataclass(frozen=True, slots=True)
class SegmentWriter:
    """Writes a segment's commits."""

    store: ExecutionStore
    texts: TextLog
    clock: Clock
    prices: PriceList

    async def begin(self, segment: Segment) -> None:
        """Take the execution for a new segment. Raises StaleWrite if another worker has it."""
        execution = segment.execution
        now = max(self.clock.now(), execution.updated_at)
        segment.begun = True
        segment.began = self.clock.monotonic()
        await self._advance(
            segment,
            Status.RUNNING,
            (ExecutionStarted(),),
            changes={
                "browser": execution.browser and execution.browser.closed(now),
                "segment": execution.segment + 1,
                "started_at": execution.started_at or now,
                "active_ms": execution.active_by(
                    now
                ),  # active until a dead worker's last heartbeat
                "tries": execution.tries + segment.counted,
            },
            at=now,
        )

    async def record(
        self,
        segment: Segment,
        events: tuple[Event, ...],
        step: Step | None = None,
        status: Status = Status.RUNNING,
        waits: tuple[Wait, ...] = (),
        children: tuple[NewChild, ...] = (),
        begun: tuple[str, ...] = (),
        ran: bool = True,
        held: Reservation | None = None,
        beside: CallRecord = NOTHING_BESIDE,
        *,
        extra: int = 0,
        logged: bool = True,
        **changes: Any,
    ) -> None:
        """Record events, a step, and unless the step was cut off a checkpoint after it.

        The step is charged; its own event, with the cost, precedes `events` unless not `logged`.
        `ran`: False for a tool that did not run. `held`: what budgets are to reserve for its tool
        calls. `beside`: what the step writes to memory stores, and its images. `extra`: credits
        that a tool has cost beyond its price. Raises BudgetRefused, and what such a write raises.
        """
        checkpoint: Checkpoint | None = None
        charge: Charge | None = None
        if held is not None:
            changes["reserved"] = held
        if children:
            changes["children"] = segment.execution.children + len(children)
        if step is not None:
            changes |= _sums(segment.execution, step)
            seconds = uncharged_seconds(segment, self.clock.now()) if ran else 0
            charge = self._charge(segment, step, extra, seconds) if ran else None
            changes |= counted(segment, seconds, step) if ran else {}
            events = (finished(step, _cost(charge)), *events) if logged else events
            if not (isinstance(step, ModelStep) and step.finish_reason in CUT_OFF):
                checkpoint = self._checkpoint(segment, step)
        await self._advance(
            segment,
            status,
            events,
            steps=() if step is None else (step,),
            checkpoint=checkpoint,
            waits=waits,
            children=children,
            begun=begun,
            charges=() if charge is None else (charge,),
            changes=changes,
            memory=beside.writes,
            images=beside.images,
        )
        if step is not None:
            segment.add(step)

    async def record_results(self, segment: Segment, results: Sequence[Result]) -> None:
        """Record results of calls in one commit, each like `record` with its checkpoint."""
        execution, done = segment.execution, list[int]()
        checkpoints: list[Checkpoint] = []
        events: list[Event] = []
        charges: list[Charge] = []
        open_seconds = uncharged_seconds(segment, self.clock.now())
        for step, ran in results:
            seconds = open_seconds if ran and not charges else 0
            charge = self._charge(segment, step, open_seconds=seconds) if ran else None
            events.append(finished(step, _cost(charge)))
            charges += () if charge is None else (charge,)
            done.append(step.number)
            checkpoints.append(self._checkpoint(segment, step, done))
        tool_ms = execution.tool_ms + sum(step.duration_ms for step, _ in results)
        done_now = [step for step, ran in results if ran]
        browser = counted(segment, open_seconds if done_now else 0, *done_now)
        await self._advance(
            segment,
            Status.RUNNING,
            tuple(events),
            {"steps": execution.steps + len(results), "tool_ms": tool_ms} | browser,
            charges=tuple(charges),
            steps=tuple([step for step, _ in results]),
            checkpoint=checkpoints.pop(),
            earlier=tuple(checkpoints),
        )
        segment.add(*(step for step, _ in results))

    def _checkpoint(self, segment: Segment, step: Step, done: Collection[int] = ()) -> Checkpoint:
        """Return the checkpoint after the step and those recorded before it.

        `done`: the numbers of calls that the same commit has recorded by then.
        """
        highest, missing = step.number, tuple[int, ...]()
        if isinstance(step, ToolStep):
            done = done or (step.number,)
            highest = max(segment.highest_step, *done, step.number)
            missing = tuple(n for n in segment.unanswered_before(highest) if n not in done)
        return Checkpoint(
            self.clock.new_id(CHECKPOINT),
            segment.execution.id,
            highest,
            step.ended_at,
            missing=missing,
        )

    async def pause(self, segment: Segment, waits: tuple[Wait, ...] = ()) -> None:
        """End the segment paused; an aborted model request is charged and run again.

        `waits` are for calls that were cut off, to be decided once it is resumed.
        """
        step = self._cut_off(segment, "paused")
        usage = NO_USAGE if step is None else step.usage
        charge = None if step is None else self._charge(segment, step)
        charge = charge and replace(charge, step=None)
        paused = ExecutionPaused(
            segment.pause_reason, usage.input_tokens, usage.output_tokens, _cost(charge)
        )
        questions = tuple(requested(question) for question in waits)
        spent = segment.execution.superseded_tokens + usage.total_tokens
        changes = {"superseded_tokens": spent}
        await self._advance(
            segment,
            Status.PAUSED,
            (*questions, paused),
            changes,
            waits=waits,
            charges=() if charge is None else (charge,),
            pause=PauseRequest(segment.stopped is Stop.PAUSE_NOW, segment.pause_reason),
        )

    async def save(self, segment: Segment, state: dict[str, Any], label: str | None) -> None:
        """Write a checkpoint with a state after all recorded steps."""
        execution, now = segment.execution, self.clock.now()
        checkpoint = Checkpoint(
            self.clock.new_id(CHECKPOINT), execution.id, segment.highest_step, now, label, state
        )
        await self._advance(
            segment, Status.RUNNING, (), changes={"state": state}, checkpoint=checkpoint
        )

    async def suspend(self, segment: Segment) -> None:
        """End the segment; a decision starts the next."""
        event = suspended(segment.waits.values())
        await self._advance(segment, Status.SUSPENDED, (event,))

    async def release(self, segment: Segment) -> None:
        """End the segment between two steps; any worker may continue."""
        tries = {"tries": _without_this(segment)}
        await self._advance(segment, Status.QUEUED, (ExecutionReleased(),), tries)

    async def leave(self, segment: Segment) -> None:
        """End the segment in the middle of a step; this does not count as a try."""
        if segment.browser is not None:
            await segment.browser.close()
        if segment.execution.tries or segment.browser is not None:
            kept = {"first_token_ms": segment.execution.first_token_ms}  # what was shown is void
            tries = {"tries": _without_this(segment)}
            await self._advance(segment, Status.RUNNING, (), kept | tries)

    async def cancel(self, segment: Segment, waits: tuple[Wait, ...] = ()) -> None:
        """Cancel the execution; the open step's text is kept and charged.

        `waits` are for calls that were cut off, to be decided if it is ever resumed.
        """
        step = self._cut_off(segment, "cancelled")
        await self.record(
            segment,
            (ExecutionCancelled(),),
            step,
            Status.CANCELLED,
            waits,
            output=segment.output(),
        )

    async def refuse(self, segment: Segment, failure: Failure) -> None:
        """Fail an execution for which no segment can begin."""
        segment.began = self.clock.monotonic()
        await self.fail(segment, failure)

    async def fail(self, segment: Segment, failure: Failure, waits: tuple[Wait, ...] = ()) -> None:
        """Fail the execution; the open step's text is kept. `waits` as in `cancel`."""
        step = self._cut_off(segment, "error")
        event = ExecutionFailed(failure.type, failure.code, failure.message)
        await self.record(
            segment,
            (event,),
            step,
            Status.FAILED,
            waits,
            error=failure,
            output=segment.output() or segment.execution.output,
        )

    def _cut_off(self, segment: Segment, reason: str) -> ModelStep | None:
        """Return the open model step so far; its tokens are estimated."""
        began = segment.text.began_at
        if began is None:
            return None
        parts = segment.text.parts()
        shown = "".join(piece for _, _, pieces in segment.text.runs for piece in pieces)
        before = 0 if segment.request is None else request_tokens(segment.request)
        received = estimate_tokens(shown) + estimate_tokens_of(segment.text.calls)
        usage = Usage(before, received, estimated=True)
        return ModelStep(
            self.clock.new_id(STEP),
            segment.open_step,
            AssistantMessage(parts),
            segment.model,
            usage,
            reason,
            began,
            max(began, self.clock.now()),
        )

    def _charge(
        self, segment: Segment, step: Step, extra: int = 0, open_seconds: int = 0
    ) -> Charge | None:
        """Return the charge of a step; None if it is free and has used no tokens.

        `open_seconds`: that the browser was open and no earlier step is charged for.
        """
        if isinstance(step, ModelStep):
            kind, name, usage = "model", step.model, step.usage
            cost = self.prices.of_model(segment.model, name).of(usage)
        else:
            kind, name, usage = "tool", step.call.name, NO_USAGE
            cost = self.prices.of_tool(name) + extra
        cost += open_seconds * self.prices.of_tool(BROWSER_SECONDS)
        if not (cost or usage.total_tokens):
            return None
        return Charge(step.id, step.number, kind, name, cost, step.ended_at, usage)

    def _elapsed_ms(self, segment: Segment) -> int:
        assert segment.began is not None
        return round((self.clock.monotonic() - segment.began) * 1000)

    async def _advance(
        self,
        segment: Segment,
        status: Status,
        events: tuple[Event, ...],
        changes: dict[str, Any] | None = None,
        at: int | None = None,
        charges: tuple[Charge, ...] = (),
        **more: Any,
    ) -> None:
        before = segment.execution
        now = max(self.clock.now(), before.updated_at) if at is None else at  # it may step back
        changes = changes or {}
        if segment.browser is not None:
            browser, more["browser"] = await written(segment, status, changes, now)
            changes |= browser
        elapsed_ms = self._elapsed_ms(segment)
        changes["active_ms"] = changes.get("active_ms", before.active_ms) + elapsed_ms
        changes["active_since"] = now if status is Status.RUNNING else None
        if status in TERMINAL:
            changes["completed_at"] = now
            more["all_steps"] = segment.steps_with(more.get("steps", ()))
        elif status is Status.SUSPENDED:
            changes["awaiting"] = awaited((*segment.waits.values(), *more.get("waits", ())))
        if status in TERMINAL or status is Status.PAUSED:
            changes["pause_requested"] = None
        if status is not Status.RUNNING or more.get("steps") or more.get("checkpoint"):
            changes.setdefault("tries", 0)  # a recorded step is progress
        if charges:
            changes["credits"] = before.credits + sum([one.credits for one in charges])
        if before.reserved is not None and "reserved" not in changes:
            steps, begins = more.get("steps", ()), "segment" in changes
            left = still_reserved(segment, status, steps, self.prices, begins=begins)
            changes["reserved"] = left
        if before.first_token_ms is None and segment.text.runs:
            first = max(0, segment.text.runs[0][0] - before.created_at)
            changes.setdefault("first_token_ms", first)
        after = advanced(before, {"status": status, "updated_at": now, **changes})
        self.texts.forget(segment)
        text = segment.text
        advanced_to = await self.store.advance(
            Advance(
                before,
                after,
                tuple([(now, event) for event in events]),
                text.whole(segment.open_step),
                text.appended,
                charges=charges,
                counted_to=segment.counted_to,
                **more,
            )
        )
        segment.execution, segment.applying = after, advanced_to.applying
        if not after.tries:
            segment.progressed()
        segment.began = (segment.began or 0.0) + elapsed_ms / 1000
        segment.text = StepText()


def _without_this(segment: Segment) -> int:
    """Return the execution's tries without this segment's; 0 after progress."""
    tries = segment.execution.tries
    return max(0, tries - 1) if segment.counted else tries


def _sums(execution: Execution, step: Step) -> dict[str, Any]:
    """Return the columns that a step adds to."""
    changes: dict[str, Any] = {"steps": execution.steps + 1}
    match step:
        case ModelStep():
            changes["usage"] = execution.usage + step.usage
            if step.model:
                changes["final_model"] = step.model
            if text := step.message.text:
                changes["output"] = text
        case ToolStep():
            changes["tool_ms"] = execution.tool_ms + step.duration_ms
    return changes


def _cost(charge: Charge | None) -> int:
    return 0 if charge is None else charge.credits
