"""Runs a segment of a code agent: its function instead of the server's loop.

function → operation → replayed, or executed and recorded → result. The function starts from the
newest checkpoint that it wrote; results recorded after that are replayed while it makes the same
calls (see `replay`). A call that waits for a person ends the function: it starts again when
decided.
"""

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import orjson
import structlog

from outlast.agents.code import CodeFunction, CodeFunctions
from outlast.agents.port import ModelRequest
from outlast.agents.prices.price_list import PriceList
from outlast.engine.code_agents.context import (
    AskModel,
    CallTool,
    CodeContext,
    Emit,
    PendingOperation,
    ReadImage,
    Save,
    as_json,
)
from outlast.engine.code_agents.replay import Replay
from outlast.engine.segment.limits import check_spent, overspent, settings_of, too_dear
from outlast.engine.segment.model_steps import ModelSteps, instructions_of
from outlast.engine.segment.segment import Interrupted, Segment, Stop
from outlast.engine.segment.time_left import out_of_time, seconds_left
from outlast.engine.segment.tool_calls import ToolCalls
from outlast.engine.segment.writer import SegmentWriter
from outlast.model.agent import Agent, AgentSpec
from outlast.model.checkpoint import Checkpoint
from outlast.model.error import CodeFailed, Misconfigured, OutlastError, ToolFailed, Upstream
from outlast.model.event import (
    DataEmitted,
    Event,
    ExecutionCompleted,
    StepRetried,
    TextAdded,
)
from outlast.model.execution import ModelStep, Status, ToolStep
from outlast.model.ids import STEP, TOOL_CALL
from outlast.model.image import ImageNotFound
from outlast.model.message import AssistantMessage, Text, ToolCall, repair
from outlast.model.text import storable
from outlast.model.usage import NO_USAGE
from outlast.operator_code import bounded
from outlast.store.store import Store

_NUL: Final = b"\\u0000"

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CodeAgentRunner:
    """Runs code agents' functions."""

    store: Store
    model_steps: ModelSteps
    tool_calls: ToolCalls
    writer: SegmentWriter
    functions: CodeFunctions

    def require(self, spec: AgentSpec) -> None:
        """Raise Misconfigured if the agent's function is not known to this process."""
        if spec.code is not None:
            self.functions.find(spec.code)

    async def run(self, segment: Segment, agent: Agent) -> None:
        """Run the function until it returns, or the segment ends first.

        Raises Interrupted, and errors that end the execution.
        """
        assert agent.spec.code is not None
        function = self.functions.find(agent.spec.code)
        newest = await self._newest(segment)
        steps = segment.steps if newest is None else _behind(segment, newest)
        replay = Replay(steps, agent.spec)
        context = CodeContext(segment, agent.spec, {} if newest is None else newest.state or {})
        work = _called(function, context, segment.execution.input)
        task = segment.spawn(bounded(work, partial(_left, context)))
        task.add_done_callback(lambda _: context.operations.put_nowait(None))
        try:
            while (pending := await context.operations.get()) is not None:
                if not await self._serve(segment, agent, replay, pending):
                    return
            if segment.interrupted:
                raise Interrupted
            await self._end(segment, agent.spec, _output(task))
        finally:
            await _leave(context, task)

    async def _newest(self, segment: Segment) -> Checkpoint | None:
        execution = segment.execution
        known = await self.store.checkpoints.of(execution.workspace_id, execution.id)
        return next((c for c in reversed(known) if c.state is not None and not c.superseded), None)

    async def _serve(
        self, segment: Segment, agent: Agent, replay: Replay, pending: PendingOperation
    ) -> bool:
        """Execute an operation; return False if the segment is to end, or waits for a person."""
        if segment.interrupted:
            raise Interrupted
        if segment.pausing or segment.stopped is Stop.RELEASE:
            return False
        if seconds_left(segment, self.writer.clock.monotonic()) <= 0:
            raise out_of_time(segment, self.writer.clock.monotonic())
        match pending.operation:
            case AskModel() as operation:
                await self._ask(segment, agent, replay, operation, pending)
            case CallTool() as operation:
                return await self._call(segment, agent.spec, replay, operation, pending)
            case ReadImage(image_id):
                await self._read(segment, image_id, pending)
            case Save(state, label):
                replay.drop()
                await self.writer.save(segment, state, label)
                pending.give(None)
            case Emit(name, data):
                if not replay:
                    event = DataEmitted(segment.open_step, name, data)
                    await self.writer.record(segment, (event,))
                pending.give(None)
        return True

    async def _read(self, segment: Segment, image_id: str, pending: PendingOperation) -> None:
        found = await self.store.images.some(segment.execution.workspace_id, [image_id])
        if image_id in found:
            pending.give(found[image_id])
        else:
            pending.refuse(ImageNotFound())

    async def _ask(
        self,
        segment: Segment,
        agent: Agent,
        replay: Replay,
        operation: AskModel,
        pending: PendingOperation,
    ) -> None:
        step = replay.model(operation.digest)
        if step is None:
            check_spent(segment, agent.spec)
            of_model = replace(agent, spec=agent.spec.with_model(operation.model))
            await self.model_steps.know_prices(segment, of_model.spec)
            request = _request(segment, agent.spec, operation, self.writer.prices)
            try:
                step = await self.model_steps.answer(segment, of_model, request, operation.digest)
            except (Upstream, Misconfigured) as error:
                await self._void(segment, error)
                pending.refuse(error)
                return
            await self.writer.record(segment, (), step)
        pending.give(step.message)

    async def _void(self, segment: Segment, error: OutlastError) -> None:
        """Void the text that a failed request had shown, and the calls that it had begun."""
        if segment.text.pieces:
            event = StepRetried(segment.open_step, storable(error.message))
            await self.writer.record(segment, (event,))
        segment.text.calls = 0

    async def _call(
        self,
        segment: Segment,
        spec: AgentSpec,
        replay: Replay,
        operation: CallTool,
        pending: PendingOperation,
    ) -> bool:
        made = replay.tool(operation.name, operation.arguments)
        if made is None:
            check_spent(segment, spec, steps=2)
            step = self._call_step(segment, operation)
            calls = step.message.tool_calls
            if (error := too_dear(segment, spec, self.writer.prices, calls)) is not None:
                raise error
            await self.model_steps.record_calls(segment, spec, step, logged=False)
            begun = segment.callable()
            if not begun:
                return False
            await self.tool_calls.call(segment, spec, begun)
            if segment.unanswered():
                return False
            last = segment.steps[-1]
            assert isinstance(last, ToolStep)
            made = last
        if made.is_error:
            pending.refuse(ToolFailed(str(made.result)))
        else:
            pending.give(made.result)
        return True

    def _call_step(self, segment: Segment, operation: CallTool) -> ModelStep:
        """Return a step with the function's tool call, instead of a model's."""
        clock = self.writer.clock
        call = ToolCall(clock.new_id(TOOL_CALL), operation.name, operation.arguments)
        return self._own_step(segment, AssistantMessage((call,)), "tool_calls")

    def _own_step(self, segment: Segment, message: AssistantMessage, reason: str) -> ModelStep:
        """Return a step that no model made; it costs nothing."""
        clock = self.writer.clock
        now = clock.now()
        return ModelStep(
            clock.new_id(STEP), segment.open_step, message, "", NO_USAGE, reason, now, now
        )

    async def _end(self, segment: Segment, spec: AgentSpec, output: str) -> None:
        """Complete; an output other than the newest answer is recorded as a last step."""
        if (error := overspent(segment, spec, self.writer.prices)) is not None:
            raise error
        completed: tuple[Event, ...] = (ExecutionCompleted(),)
        step = None
        if _said(segment) != output:
            parts = (Text(output),) if output else ()
            step = self._own_step(segment, AssistantMessage(parts), "stop")
            if output:
                self.writer.texts.add(segment, TextAdded, output)
        await self.writer.record(segment, completed, step, Status.COMPLETED, output=output)


def _behind(segment: Segment, checkpoint: Checkpoint) -> Any:
    return [step for step in segment.steps if not checkpoint.covers(step.number)]


async def _called(function: CodeFunction, context: CodeContext, given: str) -> Any:
    """Run the operator's function. Raises CodeFailed for any error of its own."""
    try:
        return await function(context, given)
    except (OutlastError, asyncio.CancelledError):
        raise
    except BaseException as error:  # the function may raise anything, and ends no server
        logger.exception("code.failed", execution=context.execution_id)
        try:
            message = str(error).strip()
        except BaseException:  # noqa: BLE001 - its __str__ is the operator's code too
            message = ""
        failure = f"{type(error).__name__}: {message}" if message else type(error).__name__
        raise CodeFailed(storable(failure)) from error


def _output(task: "asyncio.Task[Any]") -> str:
    """Return the function's result as text. Raises its error."""
    if task.cancelled():
        raise CodeFailed("CancelledError: the function's own work was cancelled")
    returned = task.result()
    if isinstance(returned, str):
        return storable(returned)
    if returned is None:
        return ""
    try:
        found = as_json(returned, "The function's result")
    except TypeError as error:
        raise CodeFailed(str(error)) from error
    if _NUL in found:
        found = orjson.dumps(storable(orjson.loads(found)))
    return found.decode()


async def _leave(context: CodeContext, task: "asyncio.Task[Any]") -> None:
    """Cancel the function if it has not ended, and let it clean up."""
    context.close()
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # retrieved: raised already, or the segment ends for another reason


def _left(context: CodeContext) -> None:
    context.close()
    logger.warning("code.still_running", execution=context.execution_id)


def _said(segment: Segment) -> str | None:
    """Return the text of the newest step that is shown as an answer."""
    shown = (
        step
        for step in reversed(segment.steps)
        if isinstance(step, ModelStep) and (step.request_digest or not step.message.tool_calls)
    )
    return next((step.message.text for step in shown), None)


def _request(
    segment: Segment, spec: AgentSpec, operation: AskModel, prices: PriceList
) -> ModelRequest:
    return ModelRequest(
        instructions=instructions_of(operation.instructions, segment.execution),
        messages=repair(operation.messages),
        tools=operation.tools,
        settings=settings_of(segment, spec, prices, operation.model),
    )
