"""Two processes that both believe that they lead: every duty is done once all the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from outlast.app import Core
from outlast.engine.maintenance.due_tasks import DUE_TASKS
from outlast.engine.maintenance.due_waits import DUE_WAITS
from outlast.engine.maintenance.leader import SoleProcess
from outlast.engine.maintenance.orphans import RECONCILE
from outlast.engine.maintenance.queue_counts import QUEUE_COUNTS
from outlast.engine.maintenance.silent_workers import TAKE_OVER
from outlast.model.agent import Expiry
from outlast.model.event import ApprovalResolved, ToolFinished
from outlast.model.execution import Status
from outlast.model.workspace import Principal
from outlast.testing import FakeClock, NamedModels, owner
from tests.support.databases import Database
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND

pytestmark = [pytest.mark.anyio, pytest.mark.only("postgresql")]
COUNT = 25


class Pair:
    """Two processes on one database."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.tools = FakeTools(pay=lambda _: "paid")
        self.cores: list[Core] = []
        self.caller: Principal

    async def open(self, database: Database, stack: AsyncExitStack) -> None:
        for _ in range(2):
            models = NamedModels({"actor": FakeModel(by_turn([call(1, "pay")], ["Over"]))})
            core = await stack.enter_async_context(
                database.core(models=models, tools=self.tools, clock=self.clock)
            )
            await core.maintenance._leadership.stop()
            core.maintenance._leadership = SoleProcess()
            self.cores.append(core)
        self.caller = await owner(self.cores[0])
        agent = spec(tool("pay", approval=True, expiry=Expiry(5, approve=True)))
        await self.cores[0].services.agents.put(self.caller.workspace_id, [(agent, "1")])

    async def suspended(self, count: int) -> list[str]:
        executions = self.cores[0].services.executions
        made = [await executions.start(self.caller, "agent", start_request()) for _ in range(count)]
        ids = [one.execution.id for one in made]
        for execution_id in ids:
            await executions.rest(self.caller, execution_id)
        return ids

    def claim_nothing(self) -> None:
        """Leave what may run to whoever fetches it."""
        for core in self.cores:
            engine: Any = core.engine
            engine._jobs.place = lambda _: None

    async def both(self, *names: str) -> None:
        """Run each duty twice in each process, all at once."""
        await asyncio.gather(
            *(core.maintenance.run(name) for name in names for core in self.cores for _ in range(2))
        )

    async def ended_once(self, ids: list[str]) -> None:
        core = self.cores[1]
        for execution_id in ids:
            view = await core.services.executions.rest(self.caller, execution_id)
            assert view.execution.status is Status.COMPLETED
            entries = [
                entry
                async for batch in core.services.executions.follow(self.caller, execution_id)
                for entry in batch
            ]
            kinds = [type(entry.event) for entry in entries]
            assert kinds.count(ApprovalResolved) == kinds.count(ToolFinished) == 1
        assert sum(self.tools.calls.values()) == len(ids)


@pytest.fixture
async def pair(database: Database) -> AsyncIterator[Pair]:
    async with asyncio.timeout(BOUND), AsyncExitStack() as stack:
        made = Pair()
        await made.open(database, stack)
        yield made


async def test_an_approval_expires_once_and_its_tool_runs_once(pair: Pair) -> None:
    ids = await pair.suspended(COUNT)
    assert all(core.maintenance.leads for core in pair.cores)
    pair.clock.advance(6)
    await pair.both(DUE_WAITS, DUE_TASKS)
    await pair.ended_once(ids)
    for core in pair.cores:
        assert not core.metrics.failures.counts


LATE = """
CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.scheduled_at = now() + interval ''1 hour''; RETURN NEW; END';
CREATE TRIGGER late BEFORE INSERT ON procrastinate_jobs FOR EACH ROW EXECUTE FUNCTION late();
"""
"""No worker takes a job that is added from then on."""


async def test_an_orphan_that_two_find_runs_once(pair: Pair, database: Database) -> None:
    ids = await pair.suspended(5)
    pair.clock.advance(6)
    pair.claim_nothing()
    database.rows(LATE)
    await pair.both(DUE_WAITS)
    database.rows("DROP TRIGGER late ON procrastinate_jobs")
    database.rows("DELETE FROM procrastinate_jobs")
    pair.clock.advance(11)
    await pair.both(RECONCILE)
    await pair.ended_once(ids)
    assert sum(core.engine.orphans for core in pair.cores) >= len(ids)


SILENT = """
INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() - interval '1 hour');
UPDATE procrastinate_jobs SET status = 'doing', worker_id = (
    SELECT id FROM procrastinate_workers ORDER BY last_heartbeat LIMIT 1)
"""
"""A worker that died with every job."""


async def test_what_a_silent_worker_held_runs_once_whoever_takes_it_over(
    pair: Pair, database: Database
) -> None:
    ids = await pair.suspended(8)
    pair.clock.advance(6)
    pair.claim_nothing()
    database.rows(LATE)
    await pair.both(DUE_WAITS)
    database.rows("DROP TRIGGER late ON procrastinate_jobs")
    database.rows(SILENT)
    await pair.both(TAKE_OVER, QUEUE_COUNTS)
    await pair.ended_once(ids)
    assert sum(core.engine.taken_over for core in pair.cores) >= len(ids)
    assert not any(core.engine.orphans for core in pair.cores)
    for core in pair.cores:
        assert not core.metrics.failures.counts
