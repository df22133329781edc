"""Events of the steps and ends that a segment records."""

from collections.abc import Iterable
from dataclasses import replace

from outlast.model.event import (
    ApprovalRequested,
    Event,
    ExecutionSuspended,
    ModelFinished,
    ToolFinished,
)
from outlast.model.execution import ModelStep, ToolStep
from outlast.model.wait import Awaiting, Wait, awaited


def charged(event: Event, cost: int) -> Event:
    """Return the event of the recorded step, with its cost."""
    if isinstance(event, (ModelFinished, ToolFinished)):
        return replace(event, credits=cost)
    return event


def suspended(waits: Iterable[Wait]) -> ExecutionSuspended:
    """Return the event of a suspension over these waits."""
    return ExecutionSuspended(awaited(waits) or Awaiting.PERSON)


def requested(question: Wait) -> ApprovalRequested:
    """Return the event of a requested approval, with the arguments that the tool would run with."""
    return ApprovalRequested(
        question.step,
        question.tool_call_id,
        question.name,
        question.arguments,
        question.kind.value,
    )


def model_finished(step: ModelStep) -> ModelFinished:
    """Return the event of a recorded model request."""
    usage = step.usage
    return ModelFinished(
        step.number,
        step.model,
        step.finish_reason,
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
        usage.estimated,
    )


def tool_finished(step: ToolStep) -> ToolFinished:
    """Return the event of a recorded tool call."""
    return ToolFinished(
        step.number,
        step.call.id,
        step.call.name,
        step.result,
        step.is_error,
        step.duration_ms,
        images=step.images,
    )
