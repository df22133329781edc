"""Waits of every kind, what is decided of them, and executions that are suspended over them."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from outlast.model.checkpoint import Checkpoint
from outlast.model.event import ExecutionSuspended
from outlast.model.execution import Execution, ModelStep, Status, at_rest
from outlast.model.message import AssistantMessage, ToolCall
from outlast.model.usage import Usage
from outlast.model.wait import AWAITED, Awaiting, CallResult, Decision, Wait, WaitKind, awaited
from outlast.store.executions.values import Advance
from outlast.store.store import Store
from outlast.store.waits.decide import DecideWait
from tests.support.store import WORKSPACE, run

RESULTS = (WaitKind.CLIENT, WaitKind.INPUT, WaitKind.CHILD, WaitKind.TIMER)
"""The kinds whose decision is the tool's result."""
DUE = 50
Suspend = Callable[..., Awaitable[Execution]]


def wait(kind: WaitKind, call: str = "tc_1", of: str = "", step: int = 2) -> Wait:
    due = DUE if kind is WaitKind.TIMER else None
    return Wait(of, call, kind, "ask", {"a": 1}, 7, step=step, due_at=due)


def decision_of(kind: WaitKind) -> Decision | CallResult:
    return Decision(approved=True) if AWAITED[kind] is Awaiting.PERSON else CallResult({"b": 2})


def decide(
    on: Execution, decision: Decision | CallResult | None, call: str = "tc_1", at: int = 9
) -> DecideWait:
    return DecideWait(WORKSPACE, on.id, call, at, decision, None if decision is None else "key_1")


async def suspended_over(store: Store, execution: Execution, *waits: Wait) -> Execution:
    """Suspend it over these calls, all of one answer; the row as it is then."""
    running = await run(store, execution)
    calls = tuple(ToolCall(one.tool_call_id, "ask", {"a": 1}) for one in waits)
    step = ModelStep("step_1", 1, AssistantMessage(calls), "m", Usage(10, 5), "stop", 5, 6)
    opened = tuple(replace(one, execution_id=running.id) for one in waits)
    after = replace(
        running,
        status=Status.SUSPENDED,
        steps=1,
        usage=Usage(10, 5),
        awaiting=awaited(opened),
    )
    suspended = ExecutionSuspended(awaited(opened) or Awaiting.PERSON)
    checkpoint = Checkpoint("cp_001", running.id, 1, 7)
    await store.executions.advance(
        Advance(
            running, after, ((7, suspended),), steps=(step,), checkpoint=checkpoint, waits=opened
        )
    )
    return await store.executions.get(WORKSPACE, running.id)


async def paused(store: Store, execution: Execution) -> Execution:
    """Pause it; the row as it is then."""
    await store.executions.advance(Advance(execution, at_rest(execution, Status.PAUSED, 20)))
    return await store.executions.get(WORKSPACE, execution.id)
