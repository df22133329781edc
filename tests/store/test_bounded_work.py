"""What one act costs does not grow with what is around it; deletions outlast their process."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from outlast.model.error import ConversationBusy, ConversationNotFound, TooManyTurns
from outlast.model.event import START
from outlast.model.execution import ModelStep, OnBusy, Status, ToolStep
from outlast.model.message import AssistantMessage, Text, ToolCall
from outlast.model.usage import Usage
from outlast.model.wait import Decision, Wait, WaitKind
from outlast.store.conversations.content import Amount
from outlast.store.conversations.delete import delete_conversation
from outlast.store.driver import Driver, Transaction
from outlast.store.executions.tables import executions
from outlast.store.idempotency import IDEMPOTENCY_MILLIS, Idempotency
from outlast.store.store import Store
from outlast.store.waits.decide import DecideWait
from outlast.testing import FakeClock
from tests.support.databases import Database
from tests.support.store import OTHER, WORKSPACE, CommitLog, Create, completed, new, run

pytestmark = pytest.mark.anyio
T = TypeVar("T")


def counted(
    transaction: Callable[[], Transaction[T]], counts: Counter[str]
) -> Callable[[], Transaction[T]]:
    """The same transaction, whose statements and rows are counted."""

    def make() -> Transaction[T]:
        inner = transaction()
        query = next(inner)
        try:
            while True:
                counts["statements"] += 1
                rows = yield query
                counts["rows"] += len(rows)
                query = inner.send(rows)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    return make


class Counting:
    """A store's own driver, which counts what its scripts ask and get."""

    def __init__(self, store: Store) -> None:
        assert isinstance(store, Store)
        self.driver: Driver = store.driver
        self.counts: Counter[str] = Counter()

    async def write(self, transaction: Callable[[], Transaction[T]], **more: Any) -> T:
        return await self.driver.write(counted(transaction, self.counts), **more)

    async def read(self, transaction: Callable[[], Transaction[T]], **more: Any) -> T:
        return await self.driver.read(counted(transaction, self.counts), **more)

    def taken(self) -> Counter[str]:
        counts, self.counts = self.counts, Counter()
        return counts


@pytest.fixture
def counting(store: Store) -> tuple[Store, Counting]:
    driver = Counting(store)
    return Store.over(driver), driver  # type: ignore[arg-type]


async def test_the_hundredth_queued_turn_costs_what_the_second_does(
    counting: tuple[Store, Counting], clock: FakeClock
) -> None:
    store, driver = counting
    first = (await store.executions.create(new(clock))).execution
    costs = []
    for _ in range(100):
        await store.executions.create(
            new(clock, conversation_id=first.conversation_id, new_conversation=False)
        )
        costs.append(driver.taken())
    assert costs[-1] == costs[1]


async def test_a_turn_too_many_is_refused_and_the_next_is_taken_once_one_has_ended(
    store: Store, clock: FakeClock
) -> None:
    more: dict[str, Any] = {"new_conversation": False, "max_live": 3}
    first = (await store.executions.create(new(clock))).execution
    more["conversation_id"] = first.conversation_id
    second = (await store.executions.create(new(clock, **more))).execution
    await store.executions.create(new(clock, **more))
    with pytest.raises(TooManyTurns, match="2 turns waiting"):
        await store.executions.create(new(clock, **more))
    with pytest.raises(ConversationBusy):
        await store.executions.create(new(clock, **more, on_busy=OnBusy.REJECT))
    assert len(await store.executions.live(WORKSPACE, first.conversation_id)) == 3
    await store.executions.advance(completed(await run(store, first)))
    taken = (await store.executions.create(new(clock, **more))).execution
    assert (taken.turn, taken.waiting) == (4, True)
    assert not (await store.executions.get(WORKSPACE, second.id)).waiting
    interrupting = (
        await store.executions.create(new(clock, **more, on_busy=OnBusy.INTERRUPT))
    ).execution
    assert [one.id for one in await store.executions.live(WORKSPACE, first.conversation_id)] == [
        interrupting.id
    ]


async def test_queued_turns_are_cancelled_many_at_a_time_and_what_runs_is_left(
    store: Store, clock: FakeClock, commit_log: CommitLog
) -> None:
    first = (await store.executions.create(new(clock))).execution
    running = await run(store, first)
    of = {"conversation_id": first.conversation_id, "new_conversation": False}
    queued = [(await store.executions.create(new(clock, **of))).execution for _ in range(5)]
    commit_log.committed.clear()
    at = clock.now() + 77
    cancelled = await store.executions.cancel_waiting(WORKSPACE, first.conversation_id, at, 3)
    assert [one.id for one in cancelled] == [one.id for one in reversed(queued[2:])]
    assert {commit.execution_id for commit in commit_log.committed} == {one.id for one in cancelled}
    assert len(await store.executions.cancel_waiting(WORKSPACE, first.conversation_id, at, 3)) == 2
    assert await store.executions.cancel_waiting(WORKSPACE, first.conversation_id, at, 3) == ()
    assert await store.executions.cancel_waiting(OTHER, first.conversation_id, at, 3) == ()
    for one in queued:
        found = await store.executions.get(WORKSPACE, one.id)
        assert (found.status, found.completed_at) == (Status.CANCELLED, at)
    assert (await store.executions.get(WORKSPACE, running.id)).status is Status.RUNNING


async def test_a_decision_costs_the_same_however_many_are_open(
    counting: tuple[Store, Counting], clock: FakeClock
) -> None:
    store, driver = counting
    costs = []
    for count in (3, 60):
        running = await run(store, (await store.executions.create(new(clock))).execution)
        opened = tuple(
            Wait(running.id, f"tc_{n:03}", WaitKind.APPROVAL, "pay", {}, 5) for n in range(count)
        )
        move = completed(running)
        suspended = replace(running, status=Status.SUSPENDED)
        await store.executions.advance(replace(move, after=suspended, events=(), waits=opened))
        driver.taken()
        request = DecideWait(WORKSPACE, running.id, "tc_001", 9, Decision(approved=True), "key_1")
        await store.waits.decide(request)
        costs.append(driver.taken())
        assert (await store.executions.get(WORKSPACE, running.id)).status is Status.SUSPENDED
        for n in range(count):
            of_call = DecideWait(
                WORKSPACE, running.id, f"tc_{n:03}", 9, Decision(approved=True), "key_1"
            )
            await store.waits.decide(of_call)
        assert (await store.executions.get(WORKSPACE, running.id)).status is Status.QUEUED
    assert costs[0] == costs[1]


async def test_the_waits_and_steps_of_a_page_are_read_at_once(
    counting: tuple[Store, Counting], clock: FakeClock
) -> None:
    store, driver = counting
    made = []
    for count in (1, 2, 3):
        running = await run(store, (await store.executions.create(new(clock))).execution)
        waits = tuple(
            Wait(running.id, f"tc_{n}", WaitKind.APPROVAL, "pay", {}, n) for n in range(count)
        )
        suspended = replace(running, status=Status.SUSPENDED)
        move = completed(running)
        await store.executions.advance(replace(move, after=suspended, events=(), waits=waits))
        made.append(running.id)
    driver.taken()
    found = await store.waits.of_each(WORKSPACE, made)
    assert [len(found[one]) for one in made] == [1, 2, 3]
    assert await store.waits.of_each(OTHER, made) == dict.fromkeys(made, ())
    assert {*await store.executions.short_steps(WORKSPACE, made)} == {*made}
    assert driver.taken()["statements"] == 3


async def test_the_record_of_a_thousand_executions_takes_the_statements_of_one(
    counting: tuple[Store, Counting], clock: FakeClock, database: Database
) -> None:
    store, driver = counting
    root = (await store.executions.create(new(clock))).execution
    driver.taken()
    assert (await store.records.tree(WORKSPACE, root.id)).children == ()
    alone = driver.taken()["statements"]
    same = [c.name for c in executions.c if c.name not in ("id", "parent_id", "depth")]
    rest = ", ".join(f'"{name}"' for name in same)
    ten = " UNION ALL ".join(f"SELECT {n} AS n" for n in range(10))
    for level in range(3):
        database.rows(
            f"INSERT INTO executions (id, parent_id, depth, {rest}) "
            f"SELECT id || n, id, depth + 1, {rest} FROM executions, ({ten}) AS ten "
            f"WHERE depth = {level}"
        )
    assert database.rows("SELECT count(*) FROM executions") == [(1 + 10 + 100 + 1000,)]
    found = await store.records.tree(WORKSPACE, root.id)
    assert driver.taken()["statements"] == alone <= 4
    assert len(found.children) == 10


async def test_what_a_deletion_has_left_is_hidden_at_once_and_purged_later(
    store: Store, create: Create, database: Database
) -> None:
    first = await create(input="secret one")
    wanted = ToolCall("tc_1", "look", {"secret": 1})
    model = ModelStep(
        "step_1",
        1,
        AssistantMessage((Text("secret"), wanted)),
        "m",
        Usage(1, 2),
        "tool_calls",
        1,
        2,
    )
    tool = ToolStep("step_2", 2, wanted, "secret", False, 3, 4)
    await store.executions.advance(completed(await run(store, first), steps=(model, tool)))
    of = {"conversation_id": first.conversation_id, "new_conversation": False}
    second = await create(input="secret two", **of)
    await store.executions.advance(completed(await run(store, second)))
    assert isinstance(store, Store)
    await store.driver.write(lambda: delete_conversation(WORKSPACE, first.conversation_id, 50))
    with pytest.raises(ConversationNotFound):  # the process dies here
        await store.conversations.get(WORKSPACE, first.conversation_id)
    for one in (first, second):
        assert (await store.executions.get(WORKSPACE, one.id)).is_purged
        assert await store.executions.steps(WORKSPACE, one.id) == ()
        assert (await store.executions.details(WORKSPACE, [one.id]))[one.id].steps == ()
    assert "secret" in str(database.rows("SELECT * FROM steps"))
    assert [
        await store.conversations.purge(Amount(1, 500)),
        await store.conversations.purge(Amount(1, 500)),
        await store.conversations.purge(Amount(1, 500)),
    ] == [1, 1, 0]
    tables = ("executions", "steps", "events", "checkpoints", "waits", "charges")
    assert "secret" not in str([database.rows(f"SELECT * FROM {table}") for table in tables])
    assert await store.executions.log(WORKSPACE, first.id, START, 100) == ()


async def test_expired_keys_are_deleted_apart_from_requests_and_a_little_at_a_time(
    counting: tuple[Store, Counting], clock: FakeClock, database: Database
) -> None:
    store, driver = counting

    async def request(key: str, digest: str = "d") -> str:
        wanted = new(clock, idempotency=Idempotency("key_1", key, digest))
        return (await store.executions.create(wanted)).execution.id

    first = await request("again")
    for number in range(10):
        await request(f"k{number}")
    clock.advance(IDEMPOTENCY_MILLIS / 1000 - 5)
    assert await request("again") == first
    clock.advance(10)
    driver.taken()
    second = await request("again", "another body")
    few = driver.taken()
    assert second != first
    assert len(database.rows("SELECT * FROM idempotency")) == 11
    await request("new")
    assert driver.taken()["statements"] == few["statements"] - 1, "its own row alone was deleted"
    before = clock.now() - IDEMPOTENCY_MILLIS
    assert [await store.idempotency.forget(before, 6) for _ in range(3)] == [6, 4, 0]
    assert {row[1] for row in database.rows("SELECT * FROM idempotency")} == {"again", "new"}


async def test_executions_are_read_in_one_transaction(
    counting: tuple[Store, Counting], clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, driver = counting
    ids = [
        (await run(store, (await store.executions.create(new(clock))).execution)).id
        for _ in range(5)
    ]
    reads: list[bool] = []
    real = driver.read

    async def read(transaction: Callable[[], Transaction[T]], *, snapshot: bool = False) -> T:
        reads.append(snapshot)
        return await real(transaction, snapshot=snapshot)

    monkeypatch.setattr(driver, "read", read)
    found = await store.executions.details(WORKSPACE, ids)
    assert list(found) == ids
    assert reads == [True]
