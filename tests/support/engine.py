"""The engine in this process: a core with one agent, without its HTTP side."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from outlast.app import Core
from outlast.model.event import Entry
from outlast.model.execution import TERMINAL, PauseRequest, Status
from outlast.model.workspace import Principal
from outlast.services.executions import ExecutionView, StartExecution
from outlast.testing import FakeClock
from tests.support.waiting import BOUND, between_looks

MakeEngine = Callable[..., Awaitable["EngineHarness"]]


class EngineHarness:
    """A core with one agent, and a caller who uses it."""

    def __init__(self, core: Core, caller: Principal, model: Any, clock: FakeClock) -> None:
        self.core, self.caller, self.model, self.clock = core, caller, model, clock
        self.executions = core.services.executions

    async def run(self, text: str = "Hello", **more: Any) -> ExecutionView:
        async with asyncio.timeout(BOUND):
            return (await self.executions.run(self.caller, "agent", start_request(text, **more)))[1]

    async def start(self, text: str = "Hello", **more: Any) -> str:
        started = await self.executions.start(self.caller, "agent", start_request(text, **more))
        return started.execution.id

    async def rest(self, execution_id: str) -> ExecutionView:
        async with asyncio.timeout(BOUND):
            return await self.executions.rest(self.caller, execution_id)

    async def log(self, execution_id: str) -> list[Entry]:
        async with asyncio.timeout(BOUND):
            return [
                entry
                async for entries in self.executions.follow(self.caller, execution_id)
                for entry in entries
            ]


def pause_signalled(core: Core) -> asyncio.Event:
    """Return an event that is set once the engine has passed a pause on to a segment.

    The row has the request a moment before.
    """
    event, engine = asyncio.Event(), core.engine
    passed_on = engine.pause

    def pause(execution_id: str, request: PauseRequest) -> bool:
        found = passed_on(execution_id, request)
        event.set()
        return found

    setattr(engine, "pause", pause)  # noqa: B010 - a method is not assigned to
    return event


def start_request(text: str = "Hello", **more: Any) -> StartExecution:
    return StartExecution(text, **more)


async def over_in_time(core: Core, clock: FakeClock, workspace_id: str, execution_id: str) -> None:
    """Let time pass while the execution waits, not while it works, until it is completed."""
    while True:
        execution = await core.store.executions.get(workspace_id, execution_id)
        if execution.status in TERMINAL:
            break
        if execution.status is Status.SUSPENDED:
            clock.advance(1)
        await between_looks()
    assert execution.status is Status.COMPLETED, execution.error
