"""Who takes over an execution that moved on since it was read undoes nothing that is recorded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from outlast.agents.port import ModelRequest
from outlast.model.error import StaleWrite
from outlast.model.event import ExecutionStarted
from outlast.model.execution import Status
from outlast.store.executions.values import Advance
from tests.support.databases import Database
from tests.support.models import Reply
from tests.support.tools import FakeTools, call, tool
from tests.support.trees import MakeTeam, agent, heard, make_team
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio


@pytest.fixture
async def team(database: Database) -> AsyncIterator[MakeTeam]:
    async with AsyncExitStack() as stack:
        yield make_team(database, stack)


async def test_a_row_that_was_read_before_a_step_begins_no_segment_behind_it(
    team: MakeTeam, database: Database
) -> None:
    answers, looks = asyncio.Event(), asyncio.Event()

    def lead(request: ModelRequest) -> Reply:
        return ["Done."] if heard(request) else ["Let me", answers, call(1, "look")]

    world = await team(
        {"lead": lead}, agent("lead", tool("look")), tools=FakeTools(look=lambda _: looks.wait())
    )
    root = await world.start()
    before = await world.until(root, Status.RUNNING)
    answers.set()
    async with asyncio.timeout(BOUND):
        while not (recorded := await world.get(root)).steps:
            await between_looks()
    assert (recorded.status, recorded.segment) == (before.status, before.segment)
    at = world.clock.now()
    after = replace(before, segment=before.segment + 1, updated_at=at)
    with pytest.raises(StaleWrite):
        await world.store.executions.advance(Advance(before, after, ((at, ExecutionStarted()),)))
    assert await world.get(root) == recorded
    looks.set()
    ended = await world.until(root)
    ((charged,),) = database.rows("SELECT CAST(SUM(credits) AS BIGINT) FROM charges")
    assert (ended.status, ended.credits, ended.steps) == (Status.COMPLETED, charged, 3)
