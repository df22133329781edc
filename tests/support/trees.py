"""Agents that call each other, and the trees of executions that come of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from outlast.agents.port import ModelRequest, WaitFor
from outlast.app import Core
from outlast.model.agent import AgentSpec, ToolSpec
from outlast.model.event import Entry
from outlast.model.execution import TERMINAL, Execution, Status
from outlast.model.message import ToolMessage, UserMessage
from outlast.model.wait import WaitKind
from outlast.model.workspace import Principal
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.page import Page
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, Reply
from tests.support.tools import FakeTools
from tests.support.waiting import BOUND, between_looks

CHILD = WaitFor(WaitKind.CHILD)
Play = Callable[[ModelRequest], Reply]


def agent(name: str, *tools: ToolSpec, **more: Any) -> AgentSpec:
    """An agent whose model is named as itself."""
    return AgentSpec(name, name, "Be kind.", tools=tools, **more)


class Team:
    """A core with some agents, and a caller who uses them."""

    def __init__(self, core: Core, caller: Principal, clock: Any) -> None:
        self.core, self.caller, self.clock = core, caller, clock
        self.executions, self.store = core.services.executions, core.store

    async def start(self, name: str = "lead", text: str = "Go", **more: Any) -> str:
        started = await self.executions.start(self.caller, name, start_request(text, **more))
        return started.execution.id

    async def memory_store(self) -> str:
        """The id of a new memory store."""
        return (await self.core.services.memory.create(self.caller, "notes"))[0].id

    async def get(self, execution_id: str) -> Execution:
        return await self.store.executions.get(self.caller.workspace_id, execution_id)

    async def until(self, execution_id: str, *statuses: Status) -> Execution:
        """The execution once its row has one of these statuses; by default, once it has ended."""
        async with asyncio.timeout(BOUND):
            while (found := await self.get(execution_id)).status not in (statuses or TERMINAL):
                await between_looks()
        return found

    async def all(self) -> list[Execution]:
        """Every execution of the workspace, oldest first."""
        workspace_id, everything = self.caller.workspace_id, ExecutionFilter()
        found = await self.store.executions.page(workspace_id, everything, Page(100))
        return sorted(found[:100], key=lambda one: one.id)

    async def below(self, execution_id: str, number: int) -> list[Execution]:
        """The children of an execution, oldest first, once there are so many."""
        async with asyncio.timeout(BOUND):
            while True:
                found = [one for one in await self.all() if one.parent_id == execution_id]
                if len(found) >= number:
                    return found
                await between_looks()

    async def results(self, execution_id: str) -> list[Any]:
        """What the tool calls of an execution gave, in order."""
        steps = await self.store.executions.steps(self.caller.workspace_id, execution_id)
        return [step.result for step in steps if not hasattr(step, "message")]

    async def log(self, execution_id: str) -> list[Entry]:
        return await self.executions.log(self.caller, execution_id)


@asynccontextmanager
async def team_on(
    database: Database,
    plays: dict[str, Play | FakeModel],
    *agents: AgentSpec,
    clock: Any = None,
    tools: FakeTools | None = None,
    **more: Any,
) -> AsyncIterator[Team]:
    """Run agents whose models answer by these functions."""
    clock = clock or FakeClock()
    models = {
        name: play if isinstance(play, FakeModel) else FakeModel(play)
        for name, play in plays.items()
    }
    kinds = {tool.name: CHILD for one in agents for tool in one.tools if tool.other}
    tools = tools or FakeTools(**kinds)
    async with database.core(
        models=NamedModels(dict(models)), tools=tools, clock=clock, drain_seconds=1, **more
    ) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(one, repr(one)) for one in agents])
        yield Team(core, caller, clock)


MakeTeam = Callable[..., Awaitable[Team]]


def make_team(database: Database, stack: AsyncExitStack) -> MakeTeam:
    """A function that runs a team until the stack is closed."""

    async def made(plays: dict[str, Play | FakeModel], *agents: AgentSpec, **more: Any) -> Team:
        return await stack.enter_async_context(team_on(database, plays, *agents, **more))

    return made


def heard(request: ModelRequest) -> list[Any]:
    """What the tool calls of the newest answer gave."""
    found: list[Any] = []
    for message in reversed(request.messages):
        if not isinstance(message, ToolMessage):
            break
        found.insert(0, message.content)
    return found


def said(request: ModelRequest) -> str:
    """The newest input."""
    texts = [one.text for one in request.messages if isinstance(one, UserMessage)]
    return texts[-1]
