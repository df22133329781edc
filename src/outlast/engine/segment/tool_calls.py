"""Tool steps: the calls of one answer run concurrently, and each is recorded when it ends."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import structlog

from outlast.agents.port import MAX_ERROR_BYTES, InputNeeded, Tools
from outlast.agents.unreadable import unreadable_arguments
from outlast.engine.segment.browsers import SegmentBrowsers
from outlast.engine.segment.call_contexts import CallContexts
from outlast.engine.segment.handles import Handles
from outlast.engine.segment.inputs import Inputs, given_input
from outlast.engine.segment.reservations import Reservations
from outlast.engine.segment.segment import NOTHING_BESIDE, CallRecord, Interrupted, Segment, ended
from outlast.engine.segment.writer import SegmentWriter
from outlast.model.agent import SOURCE_SEPARATOR, AgentSpec, ToolSpec
from outlast.model.clock import whole_millis
from outlast.model.error import OutlastError, ToolFailed, ToolsUnavailable
from outlast.model.execution import ToolStep
from outlast.model.ids import STEP
from outlast.model.memory import MemoryWriter
from outlast.model.message import ToolCall
from outlast.model.text import shortened, storable
from outlast.model.usage import Usage
from outlast.model.wait import Wait
from outlast.store.memory.write import MEMORY_REFUSALS
from outlast.store.waits.above import requested_of_client

_LOGGED_BYTES: Final = 2048
"""Maximum bytes of a cause in a log line."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """Makes tool steps."""

    tools: Tools
    writer: SegmentWriter
    contexts: CallContexts
    reservations: Reservations
    browsers: SegmentBrowsers
    inputs: Inputs
    parallel: int
    """Maximum concurrent calls of one execution."""

    async def call(
        self, segment: Segment, spec: AgentSpec, calls: tuple[tuple[int, ToolCall], ...]
    ) -> None:
        """Run these calls, `parallel` at a time; record each as it ends or waits for input.

        Once the segment is to end, no more are begun. All have ended when this returns. Raises
        Interrupted, BudgetRefused.
        """
        if segment.interrupted:
            raise Interrupted
        await self.reservations.for_calls(segment, [call for _, call in calls])
        handles = Handles()
        waiting, tasks = deque(calls), set[asyncio.Task[ToolStep | Wait]]()
        begun = 0
        try:
            while tasks or waiting:
                while waiting and len(tasks) < self.parallel and not (begun and segment.stopped):
                    number, call = waiting.popleft()
                    segment.in_flight[call.id] = (number, call)
                    tasks.add(segment.spawn(self._step(segment, spec, number, call, handles)))
                    begun += 1
                if not tasks:
                    return
                awaited: set[asyncio.Future[Any]] = {*tasks, handles.arrived}
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                await handles.record(segment, self.writer)
                done = {task for task in tasks if task.done()}
                tasks -= done
                await self._record(segment, spec, done)
                if segment.interrupted:
                    raise Interrupted
        finally:
            await ended(tasks)

    async def _record(
        self,
        segment: Segment,
        spec: AgentSpec,
        done: set[asyncio.Task[ToolStep | Wait]],
    ) -> None:
        """Record calls that have ended; then raise the error of one of them."""
        ran = [task for task in done if not task.cancelled()]
        ends = [task.result() for task in ran if task.exception() is None]
        await self._record_waits(segment, [end for end in ends if isinstance(end, Wait)])
        steps = [end for end in ends if isinstance(end, ToolStep)]
        for step in () if segment.interrupted else steps:
            await self.inputs.withdraw(segment, step.call.id)
        for step in sorted(steps, key=lambda step: step.number):
            runs = _runs(spec, step.call)
            beside = segment.records.pop(step.call.id, NOTHING_BESIDE)
            extra = await self._embedding_cost(beside.embedded)
            try:
                await self.writer.record(segment, (), step, ran=runs, beside=beside, extra=extra)
            except MEMORY_REFUSALS as error:
                refused = replace(step, result=error.message, is_error=True, images=())
                await self.writer.record(segment, (), refused, ran=runs)
            segment.in_flight.pop(step.call.id, None)
            segment.call_images.pop(step.call.id, None)
        for task in ran:
            task.result()

    async def _embedding_cost(self, embedded: Sequence[tuple[str, int]]) -> int:
        """Return what the requests to embedding models cost."""
        prices = self.writer.prices
        if lacking := [model for model, _ in embedded if prices.lacks(model)]:
            await prices.learn(lacking)
        return sum(prices.of_model(model).of(Usage(tokens)) for model, tokens in embedded)

    async def _record_waits(self, segment: Segment, waits: list[Wait]) -> None:
        """Record that calls wait for input: they have ended, and are made again with it."""
        if not waits:
            return
        events = tuple(requested_of_client(wait) for wait in waits)
        await self.writer.record(segment, events, waits=tuple(waits))
        for wait in waits:
            segment.waits[wait.tool_call_id] = wait
            segment.approved.pop(wait.tool_call_id, None)
            segment.in_flight.pop(wait.tool_call_id, None)
            segment.call_images.pop(wait.tool_call_id, None)

    async def _step(
        self, segment: Segment, spec: AgentSpec, number: int, call: ToolCall, handles: Handles
    ) -> ToolStep | Wait:
        clock = self.writer.clock
        started_at = clock.now()
        began = clock.monotonic()
        try:
            result = storable(await self._result(segment, spec, number, call, handles))
            is_error = False
        except InputNeeded as needed:
            return self.inputs.wait(segment, number, call, needed.request)
        except ToolFailed as error:
            result, is_error = shortened(storable(error.message), MAX_ERROR_BYTES), True
            _log_failure(spec, call, error, clock.monotonic() - began)
        except asyncio.CancelledError:
            result, is_error = _own_cancellation(segment), True
        ended_at = started_at + whole_millis(clock.monotonic() - began)
        approval = segment.waits.get(call.id)
        note = "" if approval is None else approval.note
        beside = segment.records.get(call.id, NOTHING_BESIDE)
        return ToolStep(
            clock.new_id(STEP),
            number,
            call,
            result,
            is_error,
            started_at,
            ended_at,
            note,
            tuple([one.image for one in beside.images]),
        )

    async def _result(
        self, segment: Segment, spec: AgentSpec, number: int, call: ToolCall, handles: Handles
    ) -> object:
        tool = _known(spec, call)
        execution = segment.execution
        context = self.contexts.of(
            execution,
            call.id,
            browser=self.browsers.of(segment) if tool.is_browser else None,
            handle=segment.handles.get(call.id),
            defer=partial(handles.defer, number, call.id),
            ask=partial(self.inputs.answers, segment, number, handles, call),
            given=given_input(segment.waits.get(call.id)),
            images=segment.images_of_call(call.id),
        )
        try:
            result = await self.tools.call(tool, call.parameters, context)
        except (OutlastError, InputNeeded):
            raise
        except Exception as error:
            logger.exception("tool.crashed", tool=call.name, execution=execution.id)
            raise ToolFailed(f"The tool {call.name} crashed.") from error
        finally:
            if context.embedded:
                segment.records[call.id] = CallRecord(embedded=tuple(context.embedded))
        if context.writes or context.images.kept:
            by = MemoryWriter(execution.id, number, call.id, execution.key_id)
            writes = tuple([replace(one, writer=by) for one in context.writes])
            images, embedded = context.images.kept, tuple(context.embedded)
            segment.records[call.id] = CallRecord(writes, images, embedded)
        return result

    async def listed(self, segment: Segment, spec: AgentSpec) -> AgentSpec:
        """Return the agent with the tools that its sources list now.

        Raises ToolsUnavailable, Misconfigured, Interrupted.
        """
        try:
            context = self.contexts.of(segment.execution, "")
        except ToolFailed as error:
            raise ToolsUnavailable(error.message) from error
        return await segment.run(self.tools.listed(spec, context))


def _own_cancellation(segment: Segment) -> str:
    """Return the error of a call that cancelled its own task. Raises CancelledError if we did."""
    task = asyncio.current_task()
    if segment.interrupted or task is None:
        raise asyncio.CancelledError
    while task.cancelling():
        task.uncancel()
    return "CancelledError: the tool's own work was cancelled"


def _runs(spec: AgentSpec, call: ToolCall) -> bool:
    """Whether the call names a tool with a runner."""
    return spec.tool(call.name) is not None and call.invalid is None


def _known(spec: AgentSpec, call: ToolCall) -> ToolSpec:
    """Return the tool that the call names. Raises ToolFailed with a message for the model."""
    tool = spec.tool(call.name)
    if tool is None:
        source = spec.source_of(call.name)
        if source is not None:
            raise ToolFailed(
                f"{source.name} has no tool {call.name!r}, or no longer; "
                f"its tools begin with {source.name}{SOURCE_SEPARATOR}.",
                cause="The model called a tool that its source does not list.",
            )
        names = ", ".join(tool.name for tool in spec.offered) or "none"
        raise ToolFailed(
            f"There is no tool {call.name!r}. Available tools: {names}.",
            cause="The model called a tool that the agent does not have.",
        )
    if call.invalid is not None:
        raise unreadable_arguments(call.invalid)
    return tool


def _log_failure(spec: AgentSpec, call: ToolCall, error: ToolFailed, seconds: float) -> None:
    """Log why a call failed; errors of the operator's function with their traceback."""
    tool, cause = spec.tool(call.name), error.cause
    raised = error.__cause__ if tool is not None and tool.python is not None else None
    if raised is not None:
        cause = type(raised).__name__
    elif tool is not None and tool.builtin is not None:
        cause = "The builtin tool refused the call."  # its message quotes the model's text
    logger.warning(
        "tool.failed",
        tool="unknown" if tool is None else tool.name,
        tool_call=call.id,
        code=error.code,
        cause=shortened(storable(cause), _LOGGED_BYTES),
        ms=round(seconds * 1000),
        exc_info=raised,
    )
