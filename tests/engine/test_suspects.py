"""What ran in crashes is let in apart from the rest, and wider as it proves harmless."""

import asyncio
from typing import Any

import pytest

from outlast.engine.segment.suspects import Suspects
from outlast.model.agent import Effect, Limits
from outlast.model.execution import Status
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_the_door_opens_twice_as_wide_for_each_that_is_harmless() -> None:
    door = Suspects()
    entering = [asyncio.ensure_future(door.enter()) for _ in range(7)]
    await turns()
    assert [one.done() for one in entering] == [True] + [False] * 6
    door.leave(harmless=True)
    await turns()
    assert sum(one.done() for one in entering) == 3
    door.leave(harmless=False)
    await turns()
    assert sum(one.done() for one in entering) == 4
    door.leave(harmless=True)
    await turns()
    assert sum(one.done() for one in entering) == 7
    for _ in range(4):
        door.leave(harmless=False)
    again = [asyncio.ensure_future(door.enter()) for _ in range(2)]
    await turns()
    assert [one.done() for one in again] == [True, False]
    again[1].cancel()
    await asyncio.wait(again)


async def test_who_no_longer_waits_takes_no_place() -> None:
    door = Suspects()
    await door.enter()
    gone, next_one = (asyncio.ensure_future(door.enter()) for _ in range(2))
    await turns()
    gone.cancel()
    await turns()
    door.leave(harmless=False)
    await asyncio.wait_for(next_one, BOUND)


@pytest.mark.parametrize("count", [3, 6])
async def test_suspects_are_taken_up_one_after_the_other_and_reach_their_end(
    database: Database, count: int
) -> None:
    """The rows are as two crashes have left them."""
    running, highest = 0, 0
    gate = asyncio.Event()

    async def look(_: dict[str, Any]) -> str:
        nonlocal running, highest
        running += 1
        highest = max(highest, running)
        await gate.wait()
        running -= 1
        return "seen"

    models = NamedModels({"actor": FakeModel(by_turn([call(1, "look")], ["Done"]))})
    agent = spec(tool("look", Effect.IDEMPOTENT))
    tools = FakeTools(look=look)
    more: dict[str, Any] = {"models": models, "tools": tools, "clock": FakeClock()}
    async with database.core(**more, drain_seconds=0) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent, "1")])
        ids = [
            (await core.services.executions.start(caller, "agent", start_request())).execution.id
            for _ in range(count)
        ]
        async with asyncio.timeout(BOUND):
            while running < count:
                await between_looks()
    database.rows("UPDATE executions SET tries = 2")
    running = highest = 0
    async with asyncio.timeout(BOUND), database.core(**more) as core:
        while not running:
            await between_looks()
        assert running == 1
        found = [await core.store.executions.get(caller.workspace_id, one) for one in ids]
        assert sorted(one.tries for one in found) == [2] * (count - 1) + [3]
        gate.set()
        for one in ids:
            view = await core.services.executions.rest(caller, one)
            assert view.execution.status is Status.COMPLETED


async def test_a_suspect_that_only_takes_long_lets_the_others_in(database: Database) -> None:
    running = 0

    async def look(_: dict[str, Any]) -> str:
        nonlocal running
        running += 1
        await asyncio.Event().wait()
        return "never"

    models = NamedModels({"actor": FakeModel(by_turn([call(1, "look")], ["Done"]))})
    agent = spec(tool("look", Effect.IDEMPOTENT), limits=Limits(max_seconds=None))
    clock = FakeClock()
    more: dict[str, Any] = {"models": models, "tools": FakeTools(look=look), "drain_seconds": 0}
    async with database.core(**more) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(agent, "1")])
        for _ in range(3):
            await core.services.executions.start(caller, "agent", start_request())
        async with asyncio.timeout(BOUND):
            while running < 3:
                await between_looks()
    database.rows("UPDATE executions SET tries = 2")
    running = 0
    async with asyncio.timeout(BOUND), database.core(**more, clock=clock):
        while running < 3:
            clock.advance(1)
            await between_looks()


async def test_a_suspect_that_waits_is_cancelled_and_left_as_any_other(
    database: Database,
) -> None:
    gate = asyncio.Event()
    models = NamedModels({"actor": FakeModel(lambda _: ["half", gate])})
    more: dict[str, Any] = {"models": models, "tools": FakeTools(), "clock": FakeClock()}
    async with database.core(**more, drain_seconds=0) as core:
        caller = await owner(core)
        await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
        ids = [
            (await core.services.executions.start(caller, "agent", start_request())).execution.id
            for _ in range(3)
        ]
        async with asyncio.timeout(BOUND):
            while core.engine.running < 3 or not all(
                [
                    (await core.store.executions.get(caller.workspace_id, one)).status
                    is Status.RUNNING
                    for one in ids
                ]
            ):
                await between_looks()
    database.rows("UPDATE executions SET tries = 2")
    async with asyncio.timeout(BOUND), database.core(**more, drain_seconds=20) as core:
        while core.engine.running < 3:
            await between_looks()
        await core.services.executions.cancel(caller, ids[2])
        view = await core.services.executions.rest(caller, ids[2])
        assert view.execution.status is Status.CANCELLED
        gate.set()
    for one in ids[:2]:
        [(status, tries)] = database.rows(
            f"SELECT status, tries FROM executions WHERE id = '{one}'"
        )
        assert (status, tries) in {("running", 2), ("completed", 0)}
