"""How the duty works off what is due: in batches, over crashes, and in a tenth of the time."""

import asyncio
from functools import partial

import pytest

from outlast.engine.maintenance.retention import PURGE, Retention
from outlast.model.error import Overloaded
from outlast.store.conversations import content
from outlast.store.conversations import store as conversations
from outlast.store.conversations.content import Amount
from outlast.store.conversations.delete import delete_conversation
from outlast.store.conversations.store import ConversationStore
from outlast.store.driver import Driver
from outlast.store.store import Store
from outlast.testing import FakeClock, NamedModels, owner
from tests.engine.test_retention import DAY, MILLI, STARTER, purged, serving
from tests.support.crashes import Crash
from tests.support.databases import Database
from tests.support.engine import EngineHarness, MakeEngine
from tests.support.models import FakeModel, by_turn
from tests.support.store import completed, new, run
from tests.support.tools import FakeTools, call, spec, tool
from tests.support.waiting import BOUND

pytestmark = pytest.mark.anyio


async def test_a_backlog_is_measured_and_worked_off_in_batches(make_engine: MakeEngine) -> None:
    server = await serving(make_engine)
    for _ in range(23):
        await server.run()
    server.clock.advance(90 * DAY)
    assert b"outlast_retention_backlog 0.0" in server.core.metrics.render()
    duty = server.core.maintenance._duties[PURGE]
    assert await duty.run(20) == 20
    if server.core.maintenance.leads:
        assert b"outlast_retention_backlog 3.0" in server.core.metrics.render()
    assert [await duty.run(20), await duty.run(20)] == [3, 0]
    assert b"outlast_retention_backlog 0.0" in server.core.metrics.render()


class Crashes(Crash):
    """A crash in every third transaction of a purge."""

    purging = False

    def lets_pass(self) -> bool:
        self.happened.clear()
        self._left = ((self._left or 0) + 1) % 3
        return not self.purging or bool(self._left)


@pytest.mark.parametrize("commits_last", [False, True])
async def test_a_crash_between_any_two_transactions_leaves_the_rest_to_the_next_run(
    database: Database, monkeypatch: pytest.MonkeyPatch, commits_last: bool
) -> None:
    for amount in ("FEW", "MANY"):
        monkeypatch.setattr(conversations, amount, Amount(50, 3))
    monkeypatch.setattr(content, "_PAGE", 2)
    purge = frozenset({"delete_if_due", "purge"})
    crashes = Crashes(0, commits_last=commits_last, transactions=purge)
    clock = FakeClock()
    model = FakeModel(by_turn(["a", call(1, "look")], ["b", call(2, "look")], ["c"]))
    async with database.core(
        models=NamedModels({"actor": model}),
        tools=FakeTools(look=lambda _: "secret"),
        clock=clock,
        plans=STARTER,
        store=crashes.store,
    ) as core:
        server = EngineHarness(core, await owner(core), model, clock)
        await core.maintenance.hold(PURGE)
        agent = spec(tool("look"))
        await core.services.agents.put(server.caller.workspace_id, [(agent, "1")])
        first = (await server.run("secret")).execution
        await server.run("secret", conversation_id=first.conversation_id)
        clock.advance(90 * DAY)
        crashes.purging, died = True, 0
        while True:
            try:
                await purged(server)
                break
            except Overloaded:
                died += 1
                records = await core.store.records.tree(server.caller.workspace_id, first.id)
                assert records.record.execution.credits == first.credits
    assert died > 5
    assert database.rows("SELECT count(*) FROM conversations") == [(0,)]
    whole = "SELECT count(*) FROM executions WHERE is_purged AND NOT purging"
    assert database.rows(whole) == [(2,)]
    for table in ("events", "checkpoints", "waits"):
        assert database.rows(f"SELECT count(*) FROM {table}") == [(0,)]
    assert database.rows("SELECT count(*) FROM steps") == [(10,)]
    assert "secret" not in str(database.rows("SELECT data FROM steps"))


async def test_what_is_small_is_purged_many_at_once(database: Database) -> None:
    clock, driver = FakeClock(), database.driver()
    store = Store.over(driver)
    await store.open()
    try:
        for _ in range(30):
            execution = (await store.executions.create(new(clock))).execution
            await store.executions.advance(completed(await run(store, execution)))
            of = (execution.workspace_id, execution.conversation_id, 9)
            await driver.write(partial(delete_conversation, *of))
        at_once = store.conversations.at_once.executions
        assert at_once > 1
        found = [await store.conversations.purge() for _ in range(30 // at_once + 2)]
        assert sum(found) == 30
        assert found[0] == min(30, at_once)
    finally:
        await store.close()
    assert database.rows("SELECT count(*) FROM events") == [(0,)]


class SlowConversations(ConversationStore):
    """Each purge takes two seconds."""

    def __init__(self, driver: Driver, clock: FakeClock) -> None:
        super().__init__(driver)
        self._clock, self.purges = clock, 0

    async def purge(self, most: Amount | None = None) -> int:
        self.purges += 1
        self._clock.advance(2)
        return await super().purge(Amount(1, 500))


async def test_the_duty_leaves_nine_tenths_of_the_time_to_others(database: Database) -> None:
    clock, driver = FakeClock(), database.driver()
    store = Store.over(driver)
    await store.open()
    try:
        for _ in range(2):
            execution = (await store.executions.create(new(clock))).execution
            await store.executions.advance(completed(await run(store, execution)))
            of = (execution.workspace_id, execution.conversation_id, 9)
            await driver.write(partial(delete_conversation, *of))
        slow = SlowConversations(driver, clock)
        working = asyncio.ensure_future(Retention(slow, STARTER, clock).run(20))
        async with asyncio.timeout(BOUND):
            for purges in (1, 2):
                await clock.sleeper()
                clock.advance(17.999)
                assert (slow.purges, working.done()) == (purges, False)
                clock.advance(MILLI)
            assert await working == 0
    finally:
        await store.close()
    assert slow.purges == 3, "the last one found nothing"
