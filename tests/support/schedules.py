"""A core whose schedules run when a test says so."""

import asyncio
from datetime import datetime
from typing import Any

from outlast.engine.maintenance.due_schedules import FIRE_SCHEDULES
from outlast.model.execution import Execution
from outlast.model.schedule import Definition, Schedule, ScheduleRun
from outlast.services.schedules import NewSchedule, Schedules
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.page import Page
from tests.support.engine import EngineHarness
from tests.support.waiting import BOUND


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


class ScheduleHouse:
    """It is 08:00 on a Wednesday; what it runs ends with `end`."""

    def __init__(self, engine: EngineHarness, gate: asyncio.Event) -> None:
        self.engine, self.gate = engine, gate
        self.core, self.caller, self.clock = engine.core, engine.caller, engine.clock
        self.schedules: Schedules = self.core.services.schedules

    async def make(self, cron: str = "0 9 * * *", **more: Any) -> Schedule:
        own = {name: more.pop(name) for name in ("name", "conversation_id") if name in more}
        times = more.get("times")
        request = NewSchedule("agent", Definition(None if times else cron, **more), **own)
        return (await self.schedules.create(self.caller, request))[0]

    async def fire(self, now: str | None = None) -> int:
        """Let it be this time, and what is due run."""
        if now is not None:
            self.clock.advance((at(now) - self.clock.now()) / 1000)
        async with asyncio.timeout(BOUND):
            return await self.core.maintenance.run(FIRE_SCHEDULES)

    async def now(self, schedule: Schedule) -> Schedule:
        return await self.schedules.get(self.caller, schedule.id)

    async def runs(self, schedule: Schedule) -> list[ScheduleRun]:
        """Oldest first."""
        found, _ = await self.schedules.runs(self.caller, schedule.id, Page(100))
        return found[::-1]

    async def executions(self) -> list[Execution]:
        """Oldest first."""
        workspace = self.caller.workspace_id
        found = await self.core.store.executions.page(workspace, ExecutionFilter(), Page(200))
        return found[::-1]

    async def end(self) -> None:
        """Let what runs end."""
        self.gate.set()
        for one in await self.executions():
            await self.engine.rest(one.id)
        self.gate.clear()
