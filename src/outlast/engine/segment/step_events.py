"""Events of the steps and ends that a segment records."""

from collections.abc import Iterable

from outlast.model.event import (
    ApprovalRequested,
    ExecutionSuspended,
    ModelFinished,
    ToolFinished,
)
from outlast.model.execution import Step, ToolStep
from outlast.model.wait import Awaiting, Wait, awaited


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


def finished(step: Step, cost: int) -> ModelFinished | ToolFinished:
    """Return the event of a recorded step and its cost in billionths of a credit."""
    if isinstance(step, ToolStep):
        return ToolFinished(
            step.number,
            step.call.id,
            step.call.name,
            step.result,
            step.is_error,
            step.duration_ms,
            cost,
            images=step.images,
        )
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
        cost,
    )
