"""One model step: send the request, stream, retry if useful, record the answer."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

import orjson
import structlog

from outlast.agents.port import (
    Answer,
    CallPiece,
    ModelRequest,
    Models,
    TextPiece,
    ThinkingPiece,
)
from outlast.agents.tools.memory_kind import embedding_models
from outlast.engine.segment.attempts import Attempts
from outlast.engine.segment.breaker import Breakers
from outlast.engine.segment.call_waits import CallWaits
from outlast.engine.segment.children import Children, children_started
from outlast.engine.segment.echo import without_echo
from outlast.engine.segment.limits import Meter, end_error, settings_of, too_dear, too_many_steps
from outlast.engine.segment.messages import messages_of
from outlast.engine.segment.reservations import Reservations
from outlast.engine.segment.segment import Segment, TextKind
from outlast.engine.segment.sight import OF_IMAGES, Sight
from outlast.engine.segment.step_events import requested, suspended
from outlast.engine.segment.writer import SegmentWriter
from outlast.model.agent import Agent, AgentSpec, shown_message
from outlast.model.budget import BudgetRefused
from outlast.model.clock import whole_millis
from outlast.model.error import (
    Misconfigured,
    ModelRejected,
    ModelUnavailable,
    OutlastError,
    Upstream,
)
from outlast.model.event import (
    Event,
    ExecutionCompleted,
    ExecutionFailed,
    StepRetried,
    TextAdded,
    ThinkingAdded,
    ToolStarted,
)
from outlast.model.execution import Execution, Failure, ModelStep, Status
from outlast.model.ids import STEP
from outlast.model.message import (
    AssistantMessage,
    Message,
    ToolCall,
    UserMessage,
    repair,
)
from outlast.model.text import WholePieces, storable, storable_message
from outlast.model.wait import Wait
from outlast.store.waits.above import requested_of_client

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ModelSteps:
    """Makes model steps."""

    models: Models
    writer: SegmentWriter
    call_waits: CallWaits
    children: Children
    reservations: Reservations
    retries: int
    """How often a request is retried after a transient failure."""
    measure: Callable[[str, str, float], None]
    """Called for every request: the model's name, `ok` or the error's code, seconds."""
    breakers: Breakers
    sight: Sight

    async def ask(self, segment: Segment, agent: Agent) -> None:
        """Make one model step and record it, with the tool calls that it starts.

        Raises Upstream, Misconfigured, LimitExceeded, BudgetExceeded (the execution fails) and
        Interrupted.
        """
        if self.writer.prices.lists:
            await self.know_prices(segment, agent.spec)
        step = await self.answer(segment, agent, self._request(segment, agent.spec))
        calls = step.message.tool_calls
        if not calls:
            await self._record_end(segment, agent.spec, step)
            return
        error = too_many_steps(segment, agent.spec, 1 + len(calls), len(calls))
        error = error or too_dear(segment, agent.spec, self.writer.prices, calls, step)
        if error is not None:
            await self._record_failure(segment, _without_calls(step), error)
            return
        try:
            await self.record_calls(segment, agent.spec, step)
        except BudgetRefused as refused:
            await self._record_failure(segment, _without_calls(step), refused)

    async def know_prices(self, segment: Segment, spec: AgentSpec) -> None:
        """Look up list prices of the models that are not known. Raises Interrupted."""
        models = {one.name for one in spec.models} | embedding_models(spec.offered)
        lacking = [model for model in models if self.writer.prices.lacks(model)]
        if lacking:
            await segment.run(self.writer.prices.learn(lacking))

    def _request(self, segment: Segment, spec: AgentSpec) -> ModelRequest:
        execution = segment.execution
        transcript: list[Message] = [*segment.history, UserMessage(execution.input)]
        transcript.extend(messages_of(segment.steps))
        first = not segment.steps
        return ModelRequest(
            instructions=instructions_of(spec.instructions, execution),
            messages=repair(tuple(transcript)),
            tools=spec.offered,
            tool_choice=spec.tool_choice if first or spec.tool_choice == "none" else "auto",
            settings=settings_of(segment, spec, self.writer.prices, spec.model),
        )

    async def answer(
        self, segment: Segment, agent: Agent, request: ModelRequest, digest: str = ""
    ) -> ModelStep:
        """Send the request, and return the step to be recorded. Raises like `ask`."""
        clock = self.writer.clock
        attempts = Attempts(agent.spec, self.retries, self.breakers, clock)
        request = await self._aimed(segment, agent.spec, attempts.model, request)
        started_at, began = clock.now(), clock.monotonic()
        answer = await self._answer(segment, agent, request, attempts)
        if self.writer.prices.lacks(segment.model, answer.model):
            await self.writer.prices.learn([segment.model], answer.model)
        return ModelStep(
            clock.new_id(STEP),
            segment.open_step,
            answer.message,
            answer.model,
            answer.usage,
            answer.finish_reason,
            started_at,
            started_at + whole_millis(clock.monotonic() - began),
            digest,
        )

    async def _aimed(
        self, segment: Segment, spec: AgentSpec, model: str, request: ModelRequest
    ) -> ModelRequest:
        """Return the request with images for this model, bounded by what it reserves for it.

        `request` is bounded for the agent's first model. Raises BudgetExceeded.
        """
        if model != spec.model:
            settings = settings_of(segment, spec, self.writer.prices, model)
            request = replace(request, settings=settings)
        request = await self.sight.shown(segment, spec, model, request)
        request = await self.reservations.for_request(segment, spec, model, request)
        segment.request, segment.model = request, model
        return request

    async def _answer(
        self, segment: Segment, agent: Agent, request: ModelRequest, attempts: Attempts
    ) -> Answer:
        while True:
            model, number = attempts.model, attempts.number
            try:
                answer = await segment.run(self._stream(segment, agent, request))
            except OutlastError as error:
                rejected = isinstance(error, ModelRejected) and request.images
                wait = None if rejected else attempts.after(error)
                if wait is None and isinstance(error, OF_IMAGES) and request.images:
                    request = await self._unseen(segment, agent.spec, request, error)
                    continue
                following = None if wait is None else attempts.model
                _log_failure(model, request, error, number, following)
                if wait is None:
                    final = attempts.final(error)
                    if final is error:
                        raise
                    raise final from error
                await self._before_next(segment, error, wait)
                if following != model:
                    request = await self._aimed(segment, agent.spec, attempts.model, request)
            else:
                attempts.answered()
                return answer

    async def _unseen(
        self, segment: Segment, spec: AgentSpec, request: ModelRequest, error: OutlastError
    ) -> ModelRequest:
        """Return the request without the images for which its model may have rejected it."""
        model = segment.model
        _log_failure(model, request, error, 1, model, left_out="images")
        await self._before_next(segment, error, 0.0)
        segment.blind |= {model}
        return await self._aimed(segment, spec, model, request)

    async def _stream(self, segment: Segment, agent: Agent, request: ModelRequest) -> Answer:
        clock = self.writer.clock
        began, outcome = clock.monotonic(), "closed"
        try:
            answer = await self._pieces(segment, agent, request)
            outcome = "ok"
        except OutlastError as error:
            outcome = error.code
            raise
        finally:
            self.measure(segment.model, outcome, clock.monotonic() - began)
        return answer

    async def _pieces(self, segment: Segment, agent: Agent, request: ModelRequest) -> Answer:
        """Log the answer piece by piece as it comes, within what may be spent."""
        texts, clock = self.writer.texts, self.writer.clock
        model = self.models.find(segment.model)
        whole: WholePieces[TextKind] = WholePieces()
        meter = Meter(segment, agent.spec, self.writer.prices)
        metered = meter.holds
        async with aclosing(model.stream(request)) as events:
            async for event in events:
                if isinstance(event, TextPiece):  # almost all
                    text = event.text
                    if text.isascii() and not whole.held and "\0" not in text:
                        texts.add(segment, TextAdded, text)
                    else:
                        for kind, piece in whole.add(TextAdded, text):
                            texts.add(segment, kind, piece)
                    if metered:
                        meter.add(len(text))
                    continue
                match event:
                    case ThinkingPiece(text):
                        for kind, piece in whole.add(ThinkingAdded, text):
                            texts.add(segment, kind, piece)
                        meter.add(len(text))
                    case CallPiece(length):
                        segment.text.add_call(clock.now(), length)
                        meter.add(length)
                    case Answer():
                        for kind, piece in whole.end():
                            texts.add(segment, kind, piece)
                        return _storable(event)
        raise ModelUnavailable("The model's answer ended before it was complete.")

    async def _before_next(self, segment: Segment, error: OutlastError, seconds: float) -> None:
        """Void the text shown, and wait."""
        if segment.text.pieces:
            retried = StepRetried(segment.open_step, storable(error.message))
            await self.writer.record(segment, (retried,))
        segment.text.calls = 0
        if seconds:
            await segment.run(self.writer.clock.sleep(seconds))

    async def _record_end(self, segment: Segment, spec: AgentSpec, step: ModelStep) -> None:
        """Record the last answer; fail the execution if it cost too much or was withheld."""
        error = end_error(segment, spec, self.writer.prices, step)
        if error is None:
            output, events = step.message.text, (ExecutionCompleted(),)
            await self.writer.record(segment, events, step, Status.COMPLETED, output=output)
            return
        await self._record_failure(segment, step, error)

    async def _record_failure(self, segment: Segment, step: ModelStep, error: OutlastError) -> None:
        """Record and charge the answer, and fail the execution."""
        failure = failure_of(error)
        failed = ExecutionFailed(failure.type, failure.code, failure.message)
        await self.writer.record(segment, (failed,), step, Status.FAILED, error=failure)

    async def end(self, segment: Segment, agent: Agent) -> None:
        """Complete an execution that was rolled back to its last answer."""
        if (error := end_error(segment, agent.spec, self.writer.prices)) is not None:
            raise error
        last = segment.steps[-1]
        assert isinstance(last, ModelStep)
        await self.writer.record(
            segment, (ExecutionCompleted(),), status=Status.COMPLETED, output=last.message.text
        )

    async def record_calls(
        self, segment: Segment, spec: AgentSpec, step: ModelStep, *, logged: bool = True
    ) -> None:
        """Record the step, and log its tool calls as started in the same commit.

        `logged`: as in `record`. If all wait, the segment ends suspended. Raises BudgetRefused:
        nothing is recorded.
        """
        calls = step.message.tool_calls
        now = self.writer.clock.now()
        made = [
            await self.call_waits.first(segment.execution.id, spec, number, call, now)
            for number, call in enumerate(calls, step.number + 1)
        ]
        waits, children = await self.children.of(segment, spec, [w for w in made if w is not None])
        some_open = any(wait.is_open for wait in waits.values())
        only_waits = len(waits) == len(calls) and some_open and not segment.pausing
        events = (
            *_call_events(calls, step.number, waits),
            *children_started(children, waits),
            *((suspended(waits.values()),) if only_waits else ()),
        )
        held = self.reservations.held(segment, calls, children=bool(children))
        try:
            await self.writer.record(
                segment,
                events,
                step,
                Status.SUSPENDED if only_waits else Status.RUNNING,
                tuple(waits.values()),
                children,
                held=held,
                logged=logged,
            )
        except BudgetRefused as error:
            raise await self.reservations.refused_calls(error, len(calls)) from error
        segment.waits = waits


def _without_calls(step: ModelStep) -> ModelStep:
    """Return the same answer without its calls; nothing continues from it."""
    parts = tuple(part for part in step.message.parts if not isinstance(part, ToolCall))
    return replace(step, message=AssistantMessage(parts), finish_reason="error")


def _call_events(
    calls: Iterable[ToolCall], before: int, waits: Mapping[str, Wait]
) -> Iterable[Event]:
    """Return the events of new calls: without approval they have started, wherever they run."""
    for number, call in enumerate(calls, before + 1):
        wait = waits.get(call.id)
        if wait is not None and wait.is_approval:
            yield requested(wait)
        else:
            yield ToolStarted(number, call.id, call.name, call.parameters)
            if wait is not None and wait.is_client:
                yield requested_of_client(wait)


def _storable(answer: Answer) -> Answer:
    """Return the same answer, storable."""
    message = storable_message(answer.message)
    model, reason = storable(answer.model), storable(answer.finish_reason)
    if (message, model, reason) == (answer.message, answer.model, answer.finish_reason):
        return answer
    return replace(answer, message=message, model=model, finish_reason=reason)


def _log_failure(
    model: str,
    request: ModelRequest,
    error: OutlastError,
    attempt: int,
    following: str | None,
    **more: str,
) -> None:
    """Log a failed request; `following` is the model that is tried next, if any is."""
    other = more if following in {None, model} else {"next": following}
    logger.warning(
        "model.failed",
        model=model,
        code=error.code,
        cause=without_echo(error.message, request),
        attempt=attempt,
        again=following is not None,
        **other,
    )


def is_answered(segment: Segment) -> bool:
    """Whether the model has given its last answer."""
    last = segment.steps[-1] if segment.steps else None
    return isinstance(last, ModelStep) and not last.message.tool_calls


def instructions_of(instructions: str, execution: Execution) -> str:
    """Return the agent's instructions, then the request's, then known facts."""
    texts = [instructions, execution.origin.instructions]
    if execution.session:
        known = [
            f"- {name}: {_one_line(value)}" for name, value in sorted(execution.session.items())
        ]
        texts.append("\n".join(("Known about this session:", *known)))
    return "\n\n".join(text for text in texts if text)


def _one_line(value: Any) -> str:
    """Return text unchanged, anything else as JSON; always on one line."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return " ".join(text.split())


def failure_of(error: OutlastError) -> Failure:
    """Return an error as stored with the execution."""
    kind = "upstream_error" if isinstance(error, Upstream) else "execution_error"
    message = shown_message(error.message) if isinstance(error, Misconfigured) else error.message
    return Failure(kind, error.code, storable(message))
