"""Trees of executions over several workers of one database."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from outlast import agent_tool
from outlast.model.agent import Limits
from outlast.model.clock import SystemClock
from outlast.model.execution import Status
from outlast.model.wait import Awaiting
from tests.support.databases import POSTGRESQL, Database
from tests.support.long_cases import WHOLE
from tests.support.models import FakeModel, by_turn
from tests.support.tools import call, tool
from tests.support.trees import agent, make_team, said
from tests.support.waiting import BOUND

pytestmark = [pytest.mark.anyio, pytest.mark.only(POSTGRESQL)]

CHILDREN, ROUNDS = 100, 100 if WHOLE else 4
LEAD = agent("lead", agent_tool("worker"), limits=Limits(max_steps=200))
CALLS = [call(n, "worker", input=str(n)) for n in range(1, CHILDREN + 1)]


async def test_children_that_end_at_once_on_two_workers_wake_their_parent_once(
    database: Database,
) -> None:
    lead, worker = FakeModel(by_turn(CALLS, ["Done."])), FakeModel(lambda request: [said(request)])
    async with AsyncExitStack() as stack:
        team = make_team(database, stack)
        one = await team(
            {"lead": lead, "worker": worker},
            LEAD,
            agent("worker"),
            concurrency=10,
            clock=SystemClock(),
        )
        await team(
            {"lead": lead, "worker": worker},
            LEAD,
            agent("worker"),
            concurrency=10,
            clock=SystemClock(),
        )
        roots = [await one.start() for _ in range(ROUNDS)]
        for root in roots:
            ended = await one.until(root)
            assert (ended.status, ended.output) == (Status.COMPLETED, "Done.")
            assert (ended.segment, ended.children) == (2, CHILDREN)
            assert await one.results(root) == [str(n) for n in range(1, CHILDREN + 1)]
    assert len(lead.requests) == 2 * ROUNDS, "no request is made twice"
    assert len(worker.requests) == CHILDREN * ROUNDS, "no child runs twice"


async def test_a_tree_is_cancelled_on_every_worker(database: Database) -> None:
    gate = asyncio.Event()
    models = {
        "lead": FakeModel(by_turn(CALLS[:12], ["Never."])),
        "worker": FakeModel(lambda _: ["So far", gate]),
    }
    async with AsyncExitStack() as stack:
        team = make_team(database, stack)
        one = await team(dict(models), LEAD, agent("worker"), concurrency=8, clock=SystemClock())
        two = await team(dict(models), LEAD, agent("worker"), concurrency=8, clock=SystemClock())
        root = await one.start()
        children = await one.below(root, 12)
        for child in children:
            await one.until(child.id, Status.RUNNING)
        assert one.core.engine.running
        assert two.core.engine.running
        await one.executions.cancel(one.caller, root)
        for child in children:
            ended = await one.until(child.id)
            assert (ended.status, ended.output) == (Status.CANCELLED, "So far")
            assert ended.usage.estimated
            assert ended.usage.output_tokens > 0, "what was received is charged"
            assert ended.credits > 0
        charges = database.rows("SELECT sum(credits) FROM charges")
        spent = (await one.executions.get(one.caller, root)).spent
        assert charges == [(spent.credits,)], "once"
        assert models["worker"].open == 0
        assert (await one.get(root)).status is Status.CANCELLED


async def test_a_caller_in_any_process_is_answered_once_a_child_awaits_a_person(
    database: Database,
) -> None:
    gate = asyncio.Event()
    models = {
        "lead": FakeModel(by_turn(CALLS[:1], ["Done."])),
        "worker": FakeModel(lambda _: [gate, call(900, "pay")]),
    }
    worker = agent("worker", tool("pay", approval=True))
    async with AsyncExitStack() as stack:
        team = make_team(database, stack)
        one = await team(dict(models), LEAD, worker, clock=SystemClock())
        two = await team(dict(models), LEAD, worker, clock=SystemClock())
        for process in (one, two):
            process.core.streams.poll_seconds = 10 * BOUND  # so that only a notification wakes it
        root = await one.start()
        (child,) = await one.below(root, 1)
        await one.until(child.id, Status.RUNNING)
        await one.until(root, Status.SUSPENDED)
        waiting = [
            asyncio.create_task(process.executions.rest(one.caller, root)) for process in (one, two)
        ]
        await asyncio.to_thread(int)
        gate.set()
        async with asyncio.timeout(BOUND):
            views = await asyncio.gather(*waiting)
        for view in views:
            assert view.execution.awaiting is Awaiting.PERSON
            assert [wait.execution_id for wait in view.approvals] == [child.id]
