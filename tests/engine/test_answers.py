"""What a caller who waits for the end is given: all that is stored then, without reading it."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from outlast import agent_tool
from outlast.model.error import ModelRejected
from outlast.model.execution import Status
from outlast.services.executions import ExecutionView
from outlast.services.views import Views
from outlast.store.listeners import Committed
from tests.support.databases import Database
from tests.support.engine import EngineHarness, MakeEngine, start_request
from tests.support.models import FakeModel, Reply, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.trees import Team, agent, make_team
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio


async def given(world: EngineHarness | Team, name: str, monkeypatch: Any) -> ExecutionView:
    """The answer to a caller who waits; it is what is stored, and was not read."""

    async def read(*_: Any) -> dict[str, Any]:
        raise AssertionError("the answer was read")

    async with asyncio.timeout(BOUND):
        with monkeypatch.context() as patched:
            patched.setattr(world.core.store.executions, "details", read)
            _, view = await world.executions.run(world.caller, name, start_request())
        assert view == await world.executions.get(world.caller, view.execution.id)
    return view


@pytest.mark.parametrize("end", [["Done."], ModelRejected("no")])
async def test_steps_are_given_in_order_however_calls_have_ended(
    share_engine: MakeEngine, monkeypatch: Any, end: Any
) -> None:
    second = asyncio.Event()

    async def first() -> dict[str, Any]:
        await second.wait()
        return {"found": [1, 2.5, None]}

    def look(arguments: dict[str, Any]) -> Any:
        if arguments["place"] == 1:
            return first()
        second.set()
        return "nothing"

    calls: Reply = ["I look.", call(1, "look", place=1), call(2, "look", place=2)]
    model = FakeModel(by_turn(calls, end if isinstance(end, list) else [end]))
    engine = await share_engine(model, spec(tool("look")), FakeTools(look=look))
    view = await given(engine, "agent", monkeypatch)
    failed = isinstance(end, ModelRejected)
    assert view.execution.status is (Status.FAILED if failed else Status.COMPLETED)
    assert [step.number for step in view.steps] == [1, 2, 3] + [4] * (not failed)


async def test_what_was_spent_below_is_given(database: Database, monkeypatch: Any) -> None:
    calls = [call(number, "researcher", input="x") for number in range(1, 3)]
    plays: dict[str, Any] = {"lead": by_turn(calls, ["Done."]), "researcher": lambda _: ["Much."]}
    agents = agent("lead", agent_tool("researcher")), agent("researcher")
    async with AsyncExitStack() as stack:
        world = await make_team(database, stack)(plays, *agents)
        view = await given(world, "lead", monkeypatch)
    assert (len(view.steps), view.below.usage.total_tokens > 0) == (4, True)


async def test_a_commit_that_lacks_steps_is_no_answer(share_engine: MakeEngine) -> None:
    """Its segment has ended it without reading them, as one that could not begin does."""
    model = FakeModel(by_turn(["I look.", call(1, "look")], ["Done."]))
    engine = await share_engine(model, spec(tool("look")), FakeTools(look=lambda _: 1))
    view = await engine.run()
    execution, entries = view.execution, tuple(await engine.log(view.execution.id))
    views = Views(engine.core.store.executions, engine.core.services.agents.known)
    for steps in (None, (), view.steps[:2]):
        end = Committed(execution.id, entries, execution, steps)
        assert (await views.at_rest(execution, end)).steps == view.steps
