"""Whatever the operator's code raises or cancels, its execution ends, and no other is touched."""

import asyncio
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import pytest

from outlast import Agent, tool
from outlast.agents.code import CodeFunctions
from outlast.agents.tools.toolbox import ToolBox
from outlast.model.clock import SystemClock
from outlast.model.execution import Execution, Status, ToolStep
from outlast.testing import NamedModels, owner
from tests.engine.test_tries import settled
from tests.support.databases import Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import call

pytestmark = pytest.mark.anyio
COUNTS: Counter[str] = Counter()


class Panic(BaseException):
    """As the classes of extension modules are: no Exception."""


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise Panic


RAISED: dict[str, Callable[[], BaseException]] = {
    "panic": lambda: Panic("odd"),
    "keyboard": KeyboardInterrupt,
    "exit": lambda: SystemExit(3),
    "generator": GeneratorExit,
    "group": lambda: BaseExceptionGroup("many", [Panic("odd")]),
    "unspeakable": Unspeakable,
    "stop": StopIteration,
    "cancelled": asyncio.CancelledError,
}


@tool(effect="destructive")
async def in_async(kind: str) -> str:
    """Raise."""
    COUNTS[kind] += 1
    error = RAISED[kind]()
    raise error


@tool(effect="destructive")
def in_thread(kind: str) -> str:
    """Raise."""
    COUNTS[kind] += 1
    error = RAISED[kind]()
    raise error


@tool(effect="destructive")
def in_result(kind: str) -> Generator[str, None, None]:
    """Raise once the result is read."""
    COUNTS[kind] += 1
    yield "one"
    if kind != "stop":
        error = RAISED[kind]()
        raise error


def doubtful(_: dict[str, Any]) -> bool:
    raise Panic


@tool(effect="destructive", approval=doubtful)
def doubtful_call(kind: str) -> str:
    """Say what it was given."""
    return kind


@tool(effect="destructive")
async def cancels_itself(kind: str) -> str:
    """Cancel the task that it runs in."""
    COUNTS[kind] += 1
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)
    return "never"


async def ran(database: Database, function: Callable[..., Any], kind: str) -> tuple[Execution, Any]:
    """The execution whose model calls the function once, and its tool step."""
    COUNTS.clear()
    agent = Agent("agent", model="actor", tools=[function])
    model = FakeModel(by_turn([call(1, agent.spec.tools[0].name, kind=kind)], ["done"]))
    models = NamedModels({"actor": model})
    async with database.core(models=models, tools=ToolBox(SystemClock(), agent.functions)) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent.spec, "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        neighbour = await core.services.executions.start(caller, "agent", start_request("another"))
        execution = await settled(core, caller, started.execution.id)
        assert (await settled(core, caller, neighbour.execution.id)).status is Status.COMPLETED
        steps = await core.store.executions.steps(caller.workspace_id, execution.id)
        (step,) = [step for step in steps if isinstance(step, ToolStep)]
        return execution, step


@pytest.mark.parametrize("kind", RAISED)
@pytest.mark.parametrize("function", [in_async, in_thread, in_result])
async def test_a_tool_that_raises_anything_is_a_tool_error_and_runs_once(
    database: Database, function: Callable[..., Any], kind: str
) -> None:
    execution, step = await ran(database, function, kind)
    assert (execution.status, execution.output) == (Status.COMPLETED, "done")
    assert step.is_error or (function, kind) == (in_result, "stop")
    assert COUNTS[kind] == 2, "once for each execution"


async def test_a_tool_that_cancels_its_own_task_is_a_tool_error_and_runs_once(
    database: Database,
) -> None:
    execution, step = await ran(database, cancels_itself, "self")
    assert (execution.status, execution.output) == (Status.COMPLETED, "done")
    assert (step.is_error, COUNTS["self"]) == (True, 2)
    assert "cancelled" in step.result


async def test_an_approval_function_that_raises_anything_has_a_person_decide(
    database: Database,
) -> None:
    agent = Agent("agent", model="actor", tools=[doubtful_call])
    model = FakeModel(by_turn([call(1, "doubtful_call", kind="x")], ["done"]))
    tools = ToolBox(SystemClock(), agent.functions)
    async with database.core(models=NamedModels({"actor": model}), tools=tools) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent.spec, "1")])
        started, view = await core.services.executions.run(caller, "agent", start_request())
        assert view.execution.status is Status.SUSPENDED
        assert [one.name for one in view.approvals] == ["doubtful_call"]
        del started


@pytest.mark.parametrize("kind", RAISED)
async def test_a_code_agent_that_raises_anything_fails_and_says_so(
    database: Database, kind: str
) -> None:
    async def loop(_ctx: Any, _given: str) -> str:
        error = RAISED[kind]()
        raise error

    spec = replace(Agent("agent", model="actor").spec, code="m:loop")
    models = NamedModels({"actor": FakeModel(lambda _: ["hi"])})
    tools, code = ToolBox(SystemClock(), {}), CodeFunctions({"m:loop": loop})
    async with database.core(models=models, tools=tools, code=code) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec, "1")])
        started = await core.services.executions.start(caller, "agent", start_request())
        ended = await settled(core, caller, started.execution.id)
        assert ended.status is Status.FAILED
        assert ended.error is not None
        assert ended.error.code == "code_failed"
