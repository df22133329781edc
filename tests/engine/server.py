"""A core with one agent, as the engine tests drive it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from outlast.app import Core
from outlast.model.event import Entry
from outlast.model.workspace import Principal
from outlast.services.executions import ExecutionView
from outlast.testing import FakeClock
from tests.engine.world import start_request

BOUND = 10.0

World = Callable[..., Awaitable["Server"]]


class Server:
    """A core with one agent, and somebody who uses it."""

    def __init__(self, core: Core, caller: Principal, actor: Any, clock: FakeClock) -> None:
        self.core, self.caller, self.actor, self.clock = core, caller, actor, clock
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
