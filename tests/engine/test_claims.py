"""On Postgres a process with a free place takes what its own commit made runnable."""

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from outlast.engine.dispatch.procrastinate.engine import ProcrastinateEngine
from outlast.engine.dispatch.procrastinate.jobs import Jobs
from outlast.model.execution import Execution, Status
from outlast.model.wait import Decision
from outlast.store.driver import TransactionResult
from outlast.store.postgres.jobs import job_added
from outlast.store.postgres.run import Fate
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.databases import POSTGRESQL, Database
from tests.support.engine import MakeEngine
from tests.support.models import FakeModel, by_turn
from tests.support.store import new
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import between_looks

pytestmark = [pytest.mark.anyio, pytest.mark.only(POSTGRESQL)]
BOUND = 20.0
JOBS = "SELECT status, count(*) FROM procrastinate_jobs GROUP BY status"
DISAGREE = """
SELECT executions.id, executions.status FROM executions
WHERE (status IN ('queued', 'running') AND NOT waiting) <> EXISTS (
    SELECT FROM procrastinate_jobs WHERE lock = executions.id AND status IN ('todo', 'doing')
)
"""


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND):
        while not await asyncio.to_thread(holds):
            await between_looks()


async def test_what_there_is_no_place_for_is_a_job_for_any_worker(
    make_engine: MakeEngine, database: Database
) -> None:
    go = asyncio.Event()
    server = await make_engine(FakeModel(lambda _: ["a", go, "b"]), concurrency=1)
    ids = [await server.start(f"run {n}") for n in range(3)]
    assert dict(database.rows(JOBS)) == {"doing": 1, "todo": 2}
    go.set()
    for name in ids:
        assert (await server.rest(name)).execution.status is Status.COMPLETED
    await until(lambda: database.rows(JOBS) == [])


async def test_an_execution_and_its_job_begin_and_end_in_one_commit(
    make_engine: MakeEngine, database: Database
) -> None:
    """Looked at in one snapshot, again and again, while runs begin, wait, go on and end."""
    ask, done = tool("ask", approval=True), asyncio.Event()
    server = await make_engine(
        FakeModel(by_turn([call(1, "ask")], ["Done."])), spec(ask), FakeTools(ask=lambda _: 1)
    )

    def look() -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        with psycopg.connect(database.url, autocommit=True) as connection:
            while not done.is_set():
                found += connection.execute(DISAGREE).fetchall()
        return found

    looking = asyncio.create_task(asyncio.to_thread(look))
    approvals = server.core.services.approvals
    for n in range(10):
        name = await server.start(f"run {n}")
        assert (await server.rest(name)).execution.status is Status.SUSPENDED
        (question,) = (await server.executions.get(server.caller, name)).approvals
        await approvals.decide(server.caller, name, question.tool_call_id, Decision(approved=True))
        async with asyncio.timeout(BOUND):
            while (await server.rest(name)).execution.status is not Status.COMPLETED:
                pass
    done.set()
    assert await looking == []


async def test_a_worker_that_the_database_no_longer_knows_refuses_no_execution(
    make_engine: MakeEngine, database: Database
) -> None:
    server = await make_engine(FakeModel(lambda _: ["a"]))
    await server.run()
    database.rows("DELETE FROM procrastinate_workers")
    assert (await server.run()).execution.status is Status.COMPLETED


async def test_a_job_whose_commit_was_not_answered_is_given_out_anew(
    make_engine: MakeEngine, database: Database
) -> None:
    server = await make_engine(FakeModel(lambda _: ["a"]))
    await server.run()
    engine: Any = server.core.engine
    assert isinstance(engine, ProcrastinateEngine)
    worker = engine._worker
    other = database.driver(lambda execution: job_added(execution, worker))
    await other.open()
    try:
        made = new(FakeClock(), workspace_id=server.caller.workspace_id, **await _agent(server))
        created = await _create(other, made)
    finally:
        await other.close()
    assert database.rows(JOBS) == [("doing", 1)]
    engine._jobs.unknown()
    assert (await server.rest(created)).execution.status is Status.COMPLETED
    await until(lambda: database.rows(JOBS) == [])


async def _agent(server: Any) -> dict[str, Any]:
    agent = await server.core.services.agents.get(server.caller, "agent")
    return {"agent_id": agent.id, "agent_version": agent.version}


async def _create(driver: Any, made: Any) -> str:
    return (await Store.over(driver).executions.create(made)).execution.id


@pytest.mark.parametrize(
    ("processes", "claimed"), [(None, 1), (1, 5), (2, 3), (5, 1), (9, 1)], ids=str
)
async def test_a_process_claims_its_share_of_what_one_commit_makes_runnable(
    processes: int | None, claimed: int
) -> None:
    jobs = Jobs()
    jobs.place, jobs.processes = (lambda _: 7), (lambda: processes)
    children = tuple(
        Execution(f"exec_{n}", "ws", "agt", 1, f"conv_{n}", 1, Status.QUEUED, 0, "", 1, 1)
        for n in range(5)
    )
    changes = jobs.enqueue(TransactionResult(None, runnable=children), first=True)
    status = [query.parameters["status"] for query in changes.queries]
    assert status == ["doing"] * claimed + ["todo"] * (5 - claimed)
    changes.settle(Fate.COMMITTED)
    assert jobs.taken == {f"exec_{n}": 7 for n in range(claimed)}


async def test_no_more_is_claimed_than_there_are_places() -> None:
    jobs = Jobs()
    jobs.place = lambda _: 7 if len(jobs.claimed) < 2 else None
    jobs.processes = lambda: 1
    children = tuple(
        Execution(f"exec_{n}", "ws", "agt", 1, f"conv_{n}", 1, Status.QUEUED, 0, "", 1, 1)
        for n in range(5)
    )
    changes = jobs.enqueue(TransactionResult(None, runnable=children), first=True)
    status = [query.parameters["status"] for query in changes.queries]
    assert status == ["doing"] * 2 + ["todo"] * 3
    again = jobs.enqueue(TransactionResult(None, runnable=children), first=False)
    assert {query.parameters["status"] for query in again.queries} == {"todo"}
