"""What can get lost between a worker and its database, one thing at a time, in process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from outlast.app import Core
from outlast.model.error import Overloaded
from outlast.model.execution import Status
from outlast.model.workspace import Principal
from outlast.store.postgres import driver, patience
from outlast.testing import NamedModels, core_on, owner
from tests.engine.world import Actor, Bench, by_turn, spec, wish
from tests.many.network import Cut, Network
from tests.many.world import until
from tests.postgres import Cluster

pytestmark = pytest.mark.anyio

BOUND = 10.0
_NUMBERS = count(1)


@pytest.fixture
def database(postgres: Cluster) -> str:
    """The URL of an empty database."""
    name = f"lost{next(_NUMBERS)}"
    _rows(postgres.url(), f"CREATE DATABASE {name}")
    return postgres.url(name)


def _rows(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


async def _found(url: str, statement: str) -> list[tuple[Any, ...]]:
    async def look() -> list[tuple[Any, ...]]:
        return _rows(url, statement)

    found: list[tuple[Any, ...]] = await until(look)
    return found


Worker = Callable[..., AbstractAsyncContextManager[tuple[Core, Principal]]]


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    @asynccontextmanager
    async def made(
        url: str, actor: Actor, *, start: bool = True, takeover_seconds: float = 30
    ) -> AsyncIterator[tuple[Core, Principal]]:
        async with core_on(
            tmp_path,
            models=NamedModels({"actor": actor}),
            tools=Bench(),
            start=start,
            database_url=url,
            drain_seconds=0,
            takeover_seconds=takeover_seconds,
        ) as core:
            caller = await owner(core)
            await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
            yield core, caller

    return made


async def _started(core: Core, caller: Principal) -> str:
    started = await core.services.executions.start(caller, "agent", wish())
    return started.execution.id


async def _completes(core: Core, caller: Principal, name: str) -> None:
    async with asyncio.timeout(BOUND):
        view = await core.services.executions.rest(caller, name)
    assert view.execution.status is Status.COMPLETED


async def test_a_job_whose_fetching_was_never_answered_is_run_all_the_same(
    database: str, worker: Worker
) -> None:
    async with (
        Network(database) as network,
        worker(network.url, Actor(by_turn(["Hi"])), start=False) as (core, caller),
    ):
        name = await _started(core, caller)
        fetched = network.lose_answer(b"procrastinate_fetch_job")
        await core.start()
        await fetched.wait()
        await _found(database, "SELECT 1 FROM procrastinate_jobs WHERE status = 'doing'")
        network.break_off()
        await network.mend()
        await _completes(core, caller, name)


async def test_a_worker_that_nobody_knows_any_more_becomes_a_new_one(
    database: str, worker: Worker
) -> None:
    async with worker(database, Actor(by_turn(["Hi"])), takeover_seconds=1) as (core, caller):
        _rows(database, "DELETE FROM procrastinate_workers")
        await _completes(core, caller, await _started(core, caller))


async def test_a_step_whose_text_the_log_has_lost_is_run_again(
    database: str, worker: Worker
) -> None:
    go_on = asyncio.Event()
    actor = Actor(by_turn(["Some", " text", go_on, " more"]))
    async with worker(database, actor) as (core, caller):
        name = await _started(core, caller)
        await _found(database, "SELECT 1 FROM events WHERE kind LIKE 'text%'")
        _rows(database, "DELETE FROM events WHERE kind LIKE 'text%'")
        go_on.set()
        await _completes(core, caller, name)
        assert len(actor.asked) == 2


async def test_a_worker_that_vanishes_within_a_transaction_holds_nobody_up(
    database: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "_LONGEST_TRANSACTION", "SET transaction_timeout TO '2s'")
    go_on = asyncio.Event()
    async with (
        Network(database) as network,
        worker(network.url, Actor(by_turn([go_on, "Hi"])), takeover_seconds=1) as (core, caller),
        worker(database, Actor(by_turn(["Hi"])), start=False, takeover_seconds=1) as (other, _),
    ):
        name = await _started(core, caller)
        await _found(database, "SELECT 1 FROM executions WHERE status = 'running'")
        vanished = network.cut_behind(b"UPDATE executions")
        go_on.set()
        await vanished.wait()
        await other.start()
        await _completes(other, caller, name)
        network.break_off()


async def test_a_database_that_says_nothing_is_away_and_nobody_waits_for_it_for_long(
    database: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 1.0)
    actor = Actor(by_turn(["Hi"]))
    async with Network(database) as network, worker(network.url, actor) as (core, caller):
        name = await _started(core, caller)
        await _completes(core, caller, name)
        get = core.services.executions.get
        await asyncio.gather(*(get(caller, name) for _ in range(20)))
        await network.cut(Cut.SWALLOWED)
        async with asyncio.timeout(BOUND):
            answers = await asyncio.gather(
                *(get(caller, name) for _ in range(20)), return_exceptions=True
            )
        assert [type(answer) for answer in answers] == [Overloaded] * 20
        await network.mend()
        await _completes(core, caller, await _started(core, caller))
