"""Logs as the core writes them, for folds: an approval, a crash, a roll-back, every end."""

from collections.abc import Sequence

from outlast.model.client_call import ClientCallAnswered, ClientCallRequested
from outlast.model.event import (
    ApprovalRequested,
    ApprovalResolved,
    Entry,
    Event,
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
    TextAdded,
    ThinkingAdded,
    ToolFinished,
    ToolStarted,
)

QUESTION = {"id": "why", "message": "Why?", "mode": "url", "url": "https://forms.example/why"}
ID = "exec_01k6zj3t7hf2a9q1x5m8r4c0vb"


def log(*events: Event) -> list[Entry]:
    """Events at their places; a start begins a segment."""
    segment, entries = 0, []
    for seq, event in enumerate(events, 1):
        segment += isinstance(event, ExecutionStarted)
        entries.append(Entry(segment, seq, 1_772_000_000_000 + 7 * seq, event))
    return entries


def created() -> ExecutionCreated:
    return ExecutionCreated("agt_1", 1, "conv_1")


def said(step: int, *pieces: str) -> tuple[Event, ...]:
    return tuple(TextAdded(step, 0, (piece,)) for piece in pieces)


def thought(step: int, *pieces: str) -> tuple[Event, ...]:
    return tuple(ThinkingAdded(step, 0, (piece,)) for piece in pieces)


def answered(step: int, reason: str = "stop") -> ModelFinished:
    return ModelFinished(step, "model-1", reason, 10, 5)


def started(step: int, call: str, **parameters: object) -> ToolStarted:
    return ToolStarted(step, call, "refund", parameters)


def finished(step: int, call: str, result: object, *, is_error: bool = False) -> ToolFinished:
    return ToolFinished(step, call, "refund", result, is_error, 3)


def requested(
    step: int, call: str, kind: str = "approval", **parameters: object
) -> ApprovalRequested:
    return ApprovalRequested(step, call, "refund", parameters, kind)


def approved(step: int, call: str, edited: dict[str, object] | None = None) -> ApprovalResolved:
    return ApprovalResolved(step, call, approved=True, parameters=edited, decided_by="key_1")


def denied(step: int, call: str, reason: str) -> ApprovalResolved:
    return ApprovalResolved(step, call, approved=False, reason=reason, decided_by="key_1")


SIMPLE = log(
    created(), ExecutionStarted(), *said(1, "Hel", "lo"), answered(1), ExecutionCompleted()
)
THINKING = log(
    created(),
    ExecutionStarted(),
    *thought(1, "hm", "…"),
    *said(1, "Ah"),
    *thought(1, "or"),
    *said(1, "no"),
    answered(1, "length"),
    ExecutionCompleted(),
)
APPROVAL = log(
    created(),
    ExecutionStarted(),
    *said(1, "Let me ", "see."),
    answered(1, "tool_calls"),
    started(2, "tc_1", order=1),
    requested(3, "tc_2", amount=5),
    finished(2, "tc_1", {"paid": 5}),
    ExecutionSuspended(),
    approved(3, "tc_2", {"amount": 4}),
    ExecutionStarted(),
    started(3, "tc_2", amount=4),
    finished(3, "tc_2", "done"),
    *said(4, "Re", "funded."),
    answered(4),
    ExecutionCompleted(),
)
DENIAL = log(
    created(),
    ExecutionStarted(),
    answered(1, "tool_calls"),
    requested(2, "tc_1", amount=5),
    requested(3, "tc_2", amount=6),
    ExecutionSuspended(),
    denied(2, "tc_1", "Too much."),
    approved(3, "tc_2"),
    ExecutionStarted(),
    finished(2, "tc_1", "Denied: Too much.", is_error=True),
    finished(3, "tc_2", {"why": 1}, is_error=True),
    *said(4, "Sorry."),
    answered(4),
    ExecutionCompleted(),
)
CRASH = log(
    created(),
    ExecutionStarted(),
    *said(1, "Wro", "ng"),
    ExecutionStarted(),
    StepRetried(1, "crash"),
    *said(1, "Rig", "ht"),
    answered(1, "tool_calls"),
    started(2, "tc_1"),
    ExecutionStarted(),
    requested(2, "tc_1", "unknown_outcome"),
    ExecutionSuspended(),
    approved(2, "tc_1"),
    ExecutionStarted(),
    finished(2, "tc_1", 1),
    *said(3, "ok"),
    answered(3),
    ExecutionCompleted(),
)
ROLL_BACK = log(
    *(entry.event for entry in APPROVAL),
    ExecutionResumed("cp_1", 2, [], "key_1"),
    requested(3, "tc_2", amount=5),
    ExecutionSuspended(),
    denied(3, "tc_2", "Not now."),
    ExecutionStarted(),
    finished(3, "tc_2", "Denied: Not now.", is_error=True),
    *said(5, "As you ", "wish."),
    answered(5),
    ExecutionCompleted(),
    ExecutionResumed("cp_2", 1, [], "key_1"),
    ExecutionStarted(),
    started(2, "tc_1", order=1),
    ExecutionReleased(),
    ExecutionStarted(),
    finished(2, "tc_1", {"paid": 5}),
    ExecutionPaused("wait"),
    ExecutionResumed("cp_3", 99, [], "key_1"),
    ExecutionStarted(),
    *said(6, "Again."),
    answered(6),
    ExecutionCompleted(),
)
FAILURE = log(
    created(),
    ExecutionStarted(),
    *said(1, "So "),
    answered(1, "error"),
    ExecutionFailed("upstream_error", "model_unavailable", "The provider is down."),
)
CANCEL = log(
    created(),
    ExecutionStarted(),
    *said(1, "So "),
    answered(1, "cancelled"),
    ExecutionCancelled(),
)
REFUSAL = log(
    created(), ExecutionStarted(), ExecutionFailed("execution_error", "misconfigured", "No model.")
)

INPUT = log(
    created(),
    ExecutionStarted(),
    answered(1, "tool_calls"),
    started(2, "tc_1", order=1),
    ClientCallRequested(2, "tc_1", "refund", {"order": 1}, input=[QUESTION]),
    ExecutionSuspended("client"),
    ClientCallAnswered(2, "tc_1", is_error=False, decided_by="key_1"),
    ExecutionStarted(),
    finished(2, "tc_1", "done"),
    *said(3, "Refunded."),
    answered(3),
    ExecutionCompleted(),
)
ALL: dict[str, Sequence[Entry]] = {
    "simple": SIMPLE,
    "thinking": THINKING,
    "approval": APPROVAL,
    "denial": DENIAL,
    "crash": CRASH,
    "roll-back": ROLL_BACK,
    "failure": FAILURE,
    "cancel": CANCEL,
    "refusal": REFUSAL,
    "input": INPUT,
}
