"""What the conformance tests write to a store, and the commits that it announces."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from outlast.model.event import (
    ExecutionCompleted,
    ExecutionStarted,
)
from outlast.model.execution import (
    Execution,
    Status,
)
from outlast.store.executions.values import Advance, NewExecution
from outlast.store.listeners import Committed, Listeners
from outlast.store.store import Store
from outlast.testing import FakeClock

WORKSPACE, OTHER = "ws_00000000000000000000000001", "ws_00000000000000000000000002"


class CommitLog:
    """What the listeners received."""

    def __init__(self) -> None:
        self.committed: list[Committed] = []
        self.runnable: list[Execution] = []

    def listeners(self) -> Listeners:
        return Listeners(self.committed.append, self.runnable.append)


Create = Callable[..., Awaitable[Execution]]


def new(clock: FakeClock, **more: Any) -> NewExecution:
    clock.advance(0.001)
    given: dict[str, Any] = {
        "id": clock.new_id("exec"),
        "workspace_id": WORKSPACE,
        "agent_id": "agt_1",
        "agent_version": 1,
        "conversation_id": clock.new_id("conv"),
        "new_conversation": True,
        "input": "Hello",
        "at": clock.now(),
    }
    return NewExecution(**(given | more))


def started(execution: Execution, at: int = 5) -> Advance:
    after = replace(
        execution,
        status=Status.RUNNING,
        segment=execution.segment + 1,
        started_at=at,
        updated_at=at,
    )
    return Advance(execution, after, ((at, ExecutionStarted()),))


def completed(execution: Execution, at: int = 9, **more: Any) -> Advance:
    after = replace(execution, status=Status.COMPLETED, completed_at=at, updated_at=at)
    return Advance(execution, after, ((at, ExecutionCompleted()),), **more)


async def run(store: Store, execution: Execution) -> Execution:
    move = started(execution)
    await store.executions.advance(move)
    return move.after
