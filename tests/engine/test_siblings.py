"""Children that begin or end together on Postgres: one commit, as if each had been made alone."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import pytest

from outlast import agent_tool
from outlast.model.event import ChildFinished, TextAdded
from outlast.model.execution import Budget, Status
from outlast.store.executions.siblings import Siblings
from outlast.store.executions.values import Advance, Advanced
from tests.support.databases import POSTGRESQL, Database
from tests.support.models import by_turn
from tests.support.recording import RecordingDriver, recorded
from tests.support.tools import call
from tests.support.trees import Team, agent, make_team
from tests.support.waiting import BOUND, between_looks, until

pytestmark = [pytest.mark.anyio, pytest.mark.only(POSTGRESQL)]
CHILDREN = 10
CALLS = [call(number, "worker", input="x") for number in range(1, CHILDREN + 1)]
AGENTS = agent("lead", agent_tool("worker")), agent("worker")


async def _text_of(database: Database, children: int) -> None:
    """Wait until the log has what each of so many children has said so far."""
    count = "SELECT count(DISTINCT execution_id) FROM events WHERE kind = 'text.added'"
    async with asyncio.timeout(BOUND):
        while database.rows(count) != [(children,)]:
            await between_looks()


async def _spoken(database: Database, stack: AsyncExitStack, **more: Any) -> tuple[Team, Any, Any]:
    """A team whose workers stop in the middle of their text until the gate opens."""
    gate = asyncio.Event()
    plays = {"lead": by_turn(CALLS, ["Done."]), "worker": lambda _: ["Good ", gate, "day."]}
    world = await make_team(database, stack)(plays, *AGENTS, **more)
    root = await world.start(budget=Budget(max_tokens=10_000_000))
    await _text_of(database, CHILDREN)
    return world, root, gate


async def test_ten_children_begin_in_one_commit_and_end_in_one(database: Database) -> None:
    drivers: list[RecordingDriver] = []
    async with AsyncExitStack() as stack:
        world, root, gate = await _spoken(database, stack, store=recorded(drivers))
        gate.set()
        ended = await world.until(root)
        children = await world.below(root, CHILDREN)
        log = [entry.event for entry in await world.log(root)]
        own = await world.log(children[0].id)
        results = await world.results(root)
    assert (ended.status, ended.segment, ended.output) == (Status.COMPLETED, 2, "Done.")
    assert results == ["Good day."] * CHILDREN
    assert [one.output for one in children] == results
    finished = [event.execution_id for event in log if isinstance(event, ChildFinished)]
    assert sorted(finished) == [one.id for one in children]
    texts = [entry.event.pieces for entry in own if isinstance(entry.event, TextAdded)]
    assert texts == [("Good ",), ("day.",)]
    assert [entry.seq for entry in own] == [1, 2, 3, 4, 5, 6]
    rows = database.rows("SELECT count(*) FROM events WHERE kind = 'text.added'")
    assert rows == [(CHILDREN + 1,)], "what was shown piece by piece is one row"
    spent = sum(one.usage.total_tokens for one in (ended, *children))
    assert database.rows("SELECT sum(spent_tokens), sum(reserved_tokens) FROM budget_shares") == [
        (spent, 0)
    ]
    (driver,) = drivers
    made = Counter(driver.transactions)
    assert made["begin_siblings"] in (1, 2), "those that this process has a place for at once"
    assert made["end_siblings"] == 1
    assert made["advance"] in (5, 6), "the parent's, and a child that began alone"


async def test_a_child_that_has_moved_on_holds_up_no_sibling(database: Database) -> None:
    async with AsyncExitStack() as stack:
        world, root, gate = await _spoken(database, stack)
        lost, *others = await world.below(root, CHILDREN)
        database.rows(f"UPDATE executions SET segment = 7 WHERE id = '{lost.id}'")
        gate.set()
        for one in others:
            assert (await world.until(one.id)).output == "Good day."
        found = await world.get(lost.id)
        waiting = await world.get(root)
    assert (found.status, found.segment, found.output) == (Status.RUNNING, 7, None)
    assert (waiting.status, waiting.segment) == (Status.SUSPENDED, 1)


class _Driver:
    """Makes what is written last until it is let go, and remembers of how many executions it is."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()
        self.sizes: list[int] = []

    async def write(self, transaction: Any, *, of: Any) -> Any:
        del transaction
        self.sizes.append(len(of))
        await self.let_go.wait()
        return Advanced(()) if len(of) == 1 else [Advanced(())] * len(of)


async def test_moves_wait_for_none_that_is_given_up(database: Database) -> None:
    async with AsyncExitStack() as stack:
        world, root, gate = await _spoken(database, stack)
        children = await world.below(root, 4)
        gate.set()
        await world.until(root)
    moves = [
        Advance(replace(one, status=Status.RUNNING), replace(one, status=Status.COMPLETED))
        for one in children
    ]
    driver: Any = _Driver()
    siblings = Siblings(driver)
    loop = asyncio.get_running_loop()
    first = [loop.create_task(siblings.advance(move)) for move in moves[:2]]
    await until(lambda: bool(driver.sizes))
    assert driver.sizes == [2], "the two of one turn of the loop"
    late = [loop.create_task(siblings.advance(move)) for move in moves[2:4]]
    await asyncio.sleep(0)
    late[0].cancel()
    await asyncio.sleep(0)
    driver.let_go.set()
    async with asyncio.timeout(BOUND):
        await asyncio.gather(*first, late[1])
    assert driver.sizes == [2, 1], "which gathered for both"
    assert late[0].cancelled()
