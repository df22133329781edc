"""The store's port under many processes: two stores on one database, whatever each does at once.

On SQLite, which takes one process, both are the same store.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from sqlalchemy import column, insert, table

from outlast.model.agent import AgentSpec
from outlast.model.error import Conflict, ConversationNotFound, StaleWrite
from outlast.model.event import START, TextAdded
from outlast.model.execution import Execution, OnBusy, Status
from outlast.model.workspace import Workspace
from outlast.store.driver import Query, Statement
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.executions.values import Advance, TextAppend
from outlast.store.idempotency import Idempotency
from outlast.store.listeners import Listeners
from outlast.store.page import Page
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.databases import POSTGRESQL, SQLITE, Database
from tests.support.store import WORKSPACE, completed, new, started
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio

Stores = tuple[Store, Store]
ENQUEUE = Statement(insert(table("enqueued", column("id"))))
ENQUEUED = "CREATE TABLE enqueued (id text, at serial)"


class Enqueued:
    """What was given to the queue by transactions that were committed, in the order of commits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._heard: list[str] = []
        if database.kind == POSTGRESQL:
            database.rows(ENQUEUED)

    def listeners(self) -> Listeners:
        return Listeners(lambda _: None, lambda execution: self._heard.append(execution.id))

    def enqueue(self, execution: Execution) -> Query:
        return Query(ENQUEUE, {"id": execution.id})

    @property
    def ids(self) -> list[str]:
        if self._database.kind == SQLITE:
            return self._heard
        return [row[0] for row in self._database.rows("SELECT id FROM enqueued ORDER BY at")]


@pytest.fixture
def enqueued(database: Database) -> Enqueued:
    return Enqueued(database)


@pytest.fixture
async def stores(database: Database, enqueued: Enqueued) -> AsyncIterator[Stores]:
    async with AsyncExitStack() as stack:

        async def opened() -> Store:
            store = Store.over(database.driver(enqueued.enqueue))
            store.listen(enqueued.listeners())
            await store.open()
            stack.push_async_callback(store.close)
            return store

        first = await opened()
        yield first, first if database.kind == SQLITE else await opened()


async def test_one_idempotency_key_makes_one_execution(
    stores: Stores, clock: FakeClock, enqueued: Enqueued
) -> None:
    promise = Idempotency("key_1", "abc", "digest")
    made = await asyncio.gather(
        *(stores[n % 2].executions.create(new(clock, idempotency=promise)) for n in range(20))
    )
    assert sum(not one.replayed for one in made) == 1
    assert len({one.execution.id for one in made}) == 1
    assert enqueued.ids == [made[0].execution.id]


async def test_one_name_makes_one_workspace(stores: Stores) -> None:
    made = await asyncio.gather(
        *(stores[n % 2].workspaces.put(Workspace(f"ws_{n}", "acme", 1)) for n in range(20))
    )
    assert len({one.id for one in made}) == 1


async def test_an_agent_that_many_change_has_every_version_once(
    stores: Stores, clock: FakeClock
) -> None:
    specs = [AgentSpec("support", "m", instructions=str(n)) for n in range(12)]
    made = await asyncio.gather(
        *(
            stores[n % 2].agents.put(WORKSPACE, clock.new_id("agt"), spec, str(n), 1)
            for n, spec in enumerate(specs)
        )
    )
    assert len({one.id for one in made}) == 1
    assert sorted(one.version for one in made) == list(range(1, 13))
    for one in made:
        kept = await stores[0].agents.version(WORKSPACE, one.id, one.version)
        assert kept.spec == one.spec


async def test_one_of_two_who_move_an_execution_does(stores: Stores, clock: FakeClock) -> None:
    for _ in range(10):
        execution = (await stores[0].executions.create(new(clock))).execution
        moved = await asyncio.gather(
            *(store.executions.advance(started(execution)) for store in stores),
            return_exceptions=True,
        )
        lost = [one for one in moved if isinstance(one, BaseException)]
        assert [type(one) for one in lost] == [StaleWrite]
        log = await stores[1].executions.log(WORKSPACE, execution.id, START, 10)
        assert [entry.seq for entry in log] == [1, 2]


async def taken_over(store: Store, running: Execution, queued: Execution) -> None:
    await store.executions.advance(Advance(running, queued))
    await store.executions.advance(started(queued))


async def test_the_text_of_a_passed_segment_never_lands_behind_the_next_ones_begin(
    stores: Stores, clock: FakeClock
) -> None:
    for _ in range(10):
        execution = (await stores[0].executions.create(new(clock))).execution
        running = started(execution).after
        await stores[0].executions.advance(started(execution))
        queued = replace(running, status=Status.QUEUED)
        appends = [
            stores[0].executions.append_text([TextAppend(running, ((6, TextAdded(1, 0, ("x",))),))])
            for _ in range(5)
        ]

        *kept, _ = await asyncio.gather(*appends, taken_over(stores[1], running, queued))
        log = await stores[0].executions.log(WORKSPACE, execution.id, START, 100)
        segments = [entry.segment for entry in log]
        assert segments == sorted(segments)
        assert [entry.seq for entry in log] == list(range(1, len(log) + 1))
        written = sum(isinstance(entry.event, TextAdded) for entry in log)
        assert written == sum(one == [True] for one in kept)


async def test_turns_run_one_at_a_time_in_order_and_each_is_enqueued_once(
    stores: Stores, clock: FakeClock, enqueued: Enqueued
) -> None:
    first = (await stores[0].executions.create(new(clock))).execution
    conversation = {"conversation_id": first.conversation_id, "new_conversation": False}

    async def follow(store: Store) -> None:
        for _ in range(15):
            await store.executions.create(new(clock, **conversation))

    async def work(store: Store) -> None:
        """Run whatever may run, as long as there is something; another may be quicker."""
        while live := await store.executions.live(WORKSPACE, first.conversation_id):
            free = [execution for execution in live if not execution.waiting]
            assert len(free) <= 1
            for execution in free:
                try:
                    if execution.status is Status.QUEUED:
                        await store.executions.advance(started(execution))
                    else:
                        await store.executions.advance(completed(execution))
                except StaleWrite:
                    pass

    async with asyncio.timeout(BOUND):
        await asyncio.gather(
            *(follow(store) for store in stores), *(work(store) for store in stores)
        )
        await asyncio.gather(*(work(store) for store in stores))
    found = await stores[0].executions.page(
        WORKSPACE, ExecutionFilter(conversation_id=first.conversation_id), Page(100)
    )
    assert {execution.status for execution in found} == {Status.COMPLETED}
    by_turn = sorted(found, key=lambda execution: execution.turn)
    assert [execution.turn for execution in by_turn] == list(range(1, 32))
    assert Counter(enqueued.ids) == {execution.id: 1 for execution in found}


async def test_a_conversation_is_deleted_or_goes_on_and_nothing_between(
    stores: Stores, clock: FakeClock
) -> None:
    for _ in range(15):
        execution = (await stores[0].executions.create(new(clock))).execution
        await stores[0].executions.advance(started(execution))
        await stores[0].executions.advance(completed(started(execution).after))
        again = new(clock, conversation_id=execution.conversation_id, new_conversation=False)
        deleted, made = await asyncio.gather(
            stores[0].conversations.delete(WORKSPACE, execution.conversation_id, 50),
            stores[1].executions.create(again),
            return_exceptions=True,
        )
        if isinstance(deleted, BaseException):
            assert isinstance(deleted, Conflict)
            assert not isinstance(made, BaseException)
        else:
            assert isinstance(made, ConversationNotFound)


async def test_of_two_who_reject_a_busy_conversation_one_gets_it(
    stores: Stores, clock: FakeClock
) -> None:
    for _ in range(10):
        ended = (await stores[0].executions.create(new(clock))).execution
        await stores[0].executions.advance(started(ended))
        await stores[0].executions.advance(completed(started(ended).after))
        request = {
            "conversation_id": ended.conversation_id,
            "new_conversation": False,
            "on_busy": OnBusy.REJECT,
        }
        made = await asyncio.gather(
            *(store.executions.create(new(clock, **request)) for store in stores),
            return_exceptions=True,
        )
        assert sum(isinstance(one, Conflict) for one in made) == 1
