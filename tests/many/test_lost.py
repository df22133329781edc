"""What can get lost between a worker and its database, one thing at a time, in process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from outlast.app import Core
from outlast.engine.dispatch.procrastinate import engine
from outlast.model.error import Overloaded
from outlast.model.event import Entry, ExecutionCompleted, ExecutionCreated
from outlast.model.execution import Status
from outlast.model.message import UserMessage
from outlast.model.workspace import Principal
from outlast.store.postgres import driver, patience
from outlast.testing import NamedModels, core_on, owner
from tests.support.engine import start_request
from tests.support.models import FakeModel, by_turn
from tests.support.network import Cut, Network
from tests.support.postgres import Cluster
from tests.support.tools import FakeTools, spec
from tests.support.waiting import BOUND, until_found

pytestmark = pytest.mark.anyio

_NUMBERS = count(1)
_UNREADABLE = (
    "nonsense",
    "[]",
    '{"from": "elsewhere"}',
    '{"from": "elsewhere", "execution": "exec_1", "entries": [[1, 1, 0, "of.the.future", "{}"]]}',
)
_NO_NOTIFICATION = (
    "DROP TRIGGER procrastinate_jobs_notify_queue_job_inserted_v1 ON procrastinate_jobs"
)
_NOT_DUE_YET = """
CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN NEW.scheduled_at = now() + interval ''1 second''; RETURN NEW; END';
CREATE TRIGGER later BEFORE INSERT ON procrastinate_jobs FOR EACH ROW EXECUTE FUNCTION later()
"""
_TAKEN_OVER = "SELECT 1 FROM procrastinate_jobs WHERE status = 'todo' AND priority > 0"


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

    found: list[tuple[Any, ...]] = await until_found(look)
    return found


Worker = Callable[..., AbstractAsyncContextManager[tuple[Core, Principal]]]


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    @asynccontextmanager
    async def made(
        url: str,
        actor: FakeModel,
        *,
        start: bool = True,
        takeover_seconds: float = 30,
        concurrency: int = 10,
    ) -> AsyncIterator[tuple[Core, Principal]]:
        async with core_on(
            tmp_path,
            models=NamedModels({"actor": actor}),
            tools=FakeTools(),
            start=start,
            database_url=url,
            drain_seconds=0,
            takeover_seconds=takeover_seconds,
            concurrency=concurrency,
        ) as core:
            caller = await owner(core)
            await core.services.agents.put(caller.workspace_id, [(spec(), "1")])
            yield core, caller

    return made


async def _started(core: Core, caller: Principal, text: str = "Hello") -> str:
    started = await core.services.executions.start(caller, "agent", start_request(text))
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
        worker(network.url, FakeModel(by_turn(["Hi"])), start=False) as (core, caller),
    ):
        name = await _started(core, caller)
        fetched = network.lose_answer(b"procrastinate_fetch_job")
        await core.start()
        await fetched.wait()
        await _found(database, "SELECT 1 FROM procrastinate_jobs WHERE status = 'doing'")
        network.break_off()
        await network.mend()
        await _completes(core, caller, name)


@pytest.mark.parametrize("lost", [_NO_NOTIFICATION, _NOT_DUE_YET], ids=["lost", "due_later"])
async def test_a_job_that_no_notification_tells_of_is_run_before_a_worker_looks_by_itself(
    database: str, worker: Worker, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "_POLL_SECONDS", 1000.0)
    async with worker(database, FakeModel(by_turn(["Hi"]))) as (core, caller):
        _rows(database, lost)
        await _completes(core, caller, await _started(core, caller))


@pytest.mark.parametrize("cut", list(Cut))
async def test_a_leader_that_is_cut_off_is_followed_and_leads_again_once_it_is_back(
    database: str, worker: Worker, cut: Cut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 2.0)
    actor = FakeModel(by_turn(["Hi"]))
    async with (
        Network(database) as network,
        worker(network.url, actor, takeover_seconds=2) as (lost, _),
        worker(database, actor, takeover_seconds=2) as (other, caller),
    ):
        assert (lost.maintenance.leads, other.maintenance.leads) == (True, False)
        await network.cut(cut)
        async with asyncio.timeout(BOUND):
            await other.maintenance._leadership.elected()
        assert not lost.maintenance.leads
        assert lost.engine.backlog == 0
        await _completes(other, caller, await _started(other, caller))

        await network.mend()
        await other.maintenance.stop()
        async with asyncio.timeout(BOUND):
            await lost.maintenance._leadership.elected()
        assert (lost.maintenance.leads, other.maintenance.leads) == (True, False)


async def test_a_worker_that_is_no_longer_known_becomes_a_new_one(
    database: str, worker: Worker
) -> None:
    async with worker(database, FakeModel(by_turn(["Hi"])), takeover_seconds=1) as (core, caller):
        _rows(database, "DELETE FROM procrastinate_workers")
        await _completes(core, caller, await _started(core, caller))


async def test_a_step_whose_text_the_log_has_lost_is_run_again(
    database: str, worker: Worker
) -> None:
    go_on = asyncio.Event()
    actor = FakeModel(by_turn(["Some", " text", go_on, " more"]))
    async with worker(database, actor) as (core, caller):
        name = await _started(core, caller)
        await _found(database, "SELECT 1 FROM events WHERE kind LIKE 'text%'")
        _rows(database, "DELETE FROM events WHERE kind LIKE 'text%'")
        go_on.set()
        await _completes(core, caller, name)
        assert len(actor.requests) == 2


async def test_a_worker_that_vanishes_within_a_transaction_holds_no_other_up(
    database: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 2.0)
    monkeypatch.setattr(driver, "_LONGEST_TRANSACTION", "SET transaction_timeout TO '1s'")
    go_on = asyncio.Event()
    async with (
        Network(database) as network,
        worker(network.url, FakeModel(by_turn([go_on, "Hi"])), takeover_seconds=1) as (
            core,
            caller,
        ),
        worker(database, FakeModel(by_turn(["Hi"])), start=False, takeover_seconds=1) as (other, _),
    ):
        name = await _started(core, caller)
        await _found(database, "SELECT 1 FROM executions WHERE status = 'running'")
        vanished = network.cut_behind(b"UPDATE executions")
        go_on.set()
        await vanished.wait()
        await other.start()
        await _completes(other, caller, name)
        network.break_off()


async def test_a_database_that_says_nothing_is_away_and_is_waited_for_only_briefly(
    database: str, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "ANSWER_SECONDS", 1.0)
    actor = FakeModel(by_turn(["Hi"]))
    async with Network(database) as network, worker(network.url, actor) as (core, caller):
        name = await _started(core, caller)
        await _completes(core, caller, name)
        await network.cut(Cut.SWALLOWED)
        async with asyncio.timeout(BOUND):
            with pytest.raises(Overloaded):
                await core.services.executions.get(caller, name)
        await network.mend()
        await _completes(core, caller, await _started(core, caller))


async def test_a_stream_that_is_opened_while_the_database_is_away_begins_when_it_is_back(
    database: str, worker: Worker
) -> None:
    actor = FakeModel(by_turn(["Hi"]))
    async with Network(database) as network, worker(network.url, actor) as (core, caller):
        name = await _started(core, caller)
        await _completes(core, caller, name)
        await network.cut(Cut.REFUSED)
        async with (
            asyncio.timeout(BOUND),
            aclosing(core.services.executions.follow(caller, name)) as log,
        ):
            assert await anext(log) == []
            await network.mend()
            entries = [entry async for batch in log for entry in batch]
        assert isinstance(entries[0].event, ExecutionCreated)
        assert isinstance(entries[-1].event, ExecutionCompleted)


async def test_a_notification_that_cannot_be_read_does_not_make_a_process_deaf(
    database: str, worker: Worker
) -> None:
    actor = FakeModel(by_turn(["Hi"]))
    async with (
        worker(database, actor) as (core, caller),
        worker(database, actor, start=False) as (other, _),
    ):
        other.streams.poll_seconds = 1000  # then nothing but a notification wakes its followers
        drivers: tuple[Any, Any] = (core.store.driver, other.store.driver)
        await until_found(partial(_listen, drivers))
        for notification in _UNREADABLE:
            _rows(database, f"SELECT pg_notify('outlast', '{notification}')")
        heard = asyncio.create_task(_followed(other, caller, await _started(core, caller)))
        assert isinstance((await heard)[-1].event, ExecutionCompleted)


async def _listen(drivers: tuple[Any, Any]) -> bool:
    return all(driver.listens for driver in drivers)


async def _followed(core: Core, caller: Principal, name: str) -> list[Entry]:
    async with asyncio.timeout(BOUND):
        log = core.services.executions.follow(caller, name)
        return [entry async for batch in log for entry in batch]


async def test_what_has_begun_goes_on_before_anything_else_begins(
    database: str, worker: Worker
) -> None:
    here, there = asyncio.Event(), asyncio.Event()
    first, second = FakeModel(by_turn([here])), FakeModel(by_turn([there, "Hi"]))
    async with (
        Network(database) as network,
        worker(network.url, first, concurrency=1, takeover_seconds=3) as (core, caller),
        worker(database, second, start=False, concurrency=1, takeover_seconds=3) as (other, _),
    ):
        names = [await _started(core, caller, "begun")]
        await _found(database, "SELECT 1 FROM executions WHERE status = 'running'")
        names += [await _started(other, caller, f"new {number}") for number in range(3)]
        await network.cut(Cut.REFUSED)
        await other.start()
        await _found(database, _TAKEN_OVER)
        there.set()
        for name in names:
            await _completes(other, caller, name)
        first_messages = [request.messages[0] for request in second.requests]
        assert first_messages == [
            UserMessage(text) for text in ("new 0", "begun", "new 1", "new 2")
        ]
