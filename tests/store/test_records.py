"""The store's port, records and charges: one suite for every implementation."""

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from outlast.model.charge import Charge
from outlast.model.error import ExecutionNotFound, StaleWrite
from outlast.model.execution import Execution, ModelStep
from outlast.model.message import AssistantMessage, Text
from outlast.model.record import ClosedRecord, ExecutionRecord, RecordId, StepRecord, Tree
from outlast.model.usage import Usage
from outlast.store.driver import Driver, Transaction
from outlast.store.executions.values import Advance
from outlast.store.records import RecordPage
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.databases import Database
from tests.support.store import OTHER, WORKSPACE, Create, completed, run

pytestmark = pytest.mark.anyio
T = TypeVar("T")
USED = Usage(10, 5, 3, 1)


def step(clock: FakeClock, number: int) -> ModelStep:
    said = AssistantMessage((Text(f"said {number}"),))
    return ModelStep(clock.new_id("step"), number, said, "m", USED, "stop", number, number + 1)


def charged(of: ModelStep, nano: int, *, closed: bool = False) -> Charge:
    return Charge(of.id, None if closed else of.number, "model", "m", nano, 7, USED)


async def recorded(
    store: Store, clock: FakeClock, execution: Execution, *nanos: int
) -> tuple[Execution, list[ModelStep]]:
    """Run and end an execution whose steps cost so much; the last is a closed request."""
    running = await run(store, execution)
    steps = [step(clock, number) for number in range(1, len(nanos) + 1)]
    charges = [charged(one, nano) for one, nano in zip(steps, nanos, strict=True) if nano]
    *_, last = steps
    if nanos[-1]:
        charges[-1] = charged(last, nanos[-1], closed=True)
    after = replace(running, credits=sum(nanos))
    await store.executions.advance(
        Advance(running, after, steps=tuple(steps[:-1]), charges=tuple(charges))
    )
    await store.executions.advance(completed(after))
    return after, steps


async def test_a_charge_is_written_with_its_move_and_not_without(
    store: Store, create: Create, clock: FakeClock, database: Database
) -> None:
    running = await run(store, await create())
    first = step(clock, 1)
    move = Advance(
        running, replace(running, credits=9), steps=(first,), charges=(charged(first, 9),)
    )
    await store.executions.advance(move)
    again = step(clock, 2)
    stale = replace(running, segment=running.segment + 7)
    with pytest.raises(StaleWrite):
        await store.executions.advance(
            Advance(stale, stale, steps=(again,), charges=(charged(again, 5),))
        )
    rows = database.rows(
        "SELECT execution_id, id, workspace_id, step, kind, name, input_tokens, output_tokens, "
        "credits, at FROM charges"
    )
    assert rows == [(running.id, first.id, WORKSPACE, 1, "model", "m", 10, 5, 9, 7)]
    assert (await store.executions.get(WORKSPACE, running.id)).credits == 9


async def test_a_tree_holds_what_is_under_an_execution_and_no_more(
    store: Store, create: Create, clock: FakeClock
) -> None:
    root, steps = await recorded(store, clock, await create(), 3, 0, 4)
    child, _ = await recorded(store, clock, await create(parent_id=root.id), 5, 6)
    await recorded(store, clock, await create(parent_id=child.id), 2**62 - 100, 8)
    await recorded(store, clock, await create(), 9, 9)
    found = await store.records.tree(WORKSPACE, root.id)
    assert found.record == ExecutionRecord(
        await store.executions.get(WORKSPACE, root.id), 3 + 4 + 5 + 6 + 2**62 - 100 + 8
    )
    kinds = [type(node.record) for node in found.children]
    assert sorted(kinds, key=str) == [ClosedRecord, ExecutionRecord, StepRecord, StepRecord]
    by_step = {node.record.step.id: node.record for node in found.children if _is_step(node)}  # type: ignore[union-attr]
    assert [by_step[one.id].credits for one in steps[:2]] == [3, 0]
    assert all(_adds_up(node) for node in _walk(found))
    one = await store.records.get(WORKSPACE, RecordId(root.id, None))
    assert one == found.record
    closed = await store.records.get(WORKSPACE, RecordId(None, steps[2].id))
    assert isinstance(closed, ClosedRecord)
    assert (closed.credits, closed.charge.usage) == (4, Usage(10, 5))


def _is_step(node: Tree) -> bool:
    return isinstance(node.record, StepRecord)


def _walk(node: Tree) -> Generator[Tree]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _adds_up(node: Tree) -> bool:
    if not node.children:
        return True
    return sum(child.record.credits for child in node.children) == node.record.credits


async def test_what_is_another_workspaces_is_not_found(
    store: Store, create: Create, clock: FakeClock
) -> None:
    root, steps = await recorded(store, clock, await create(), 3, 4)
    foreign = await create(parent_id=root.id, workspace_id=OTHER)
    assert len((await store.records.tree(WORKSPACE, root.id)).children) == 2
    for wanted in (
        RecordId(root.id, None),
        RecordId(None, steps[0].id),
        RecordId(None, steps[1].id),
    ):
        with pytest.raises(ExecutionNotFound):
            await store.records.get(OTHER, wanted)
    with pytest.raises(ExecutionNotFound):
        await store.records.tree(OTHER, root.id)
    (listed,) = await store.records.page(OTHER, RecordPage(10, 0))
    assert listed.execution.id == foreign.id
    (listed,) = await store.records.page(WORKSPACE, RecordPage(10, 0))
    assert listed.credits == 7


async def test_what_is_left_of_a_deleted_executions_ledger_is_no_record(
    store: Store, create: Create, clock: FakeClock, database: Database
) -> None:
    root, steps = await recorded(store, clock, await create(), 3, 4)
    await store.executions.delete(WORKSPACE, root.id)
    assert database.rows("SELECT count(*) FROM charges") == [(2,)]
    for one in steps:
        with pytest.raises(ExecutionNotFound):
            await store.records.get(WORKSPACE, RecordId(None, one.id))


class Counting:
    """A driver that counts the statements of its reads."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.statements = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    async def read(
        self,
        transaction: Callable[[], Transaction[T]],
        *,
        snapshot: bool = False,
        light: bool = False,
    ) -> T:
        def counted() -> Transaction[T]:
            inner, rows = transaction(), None
            try:
                while True:
                    query = inner.send(rows)  # type: ignore[arg-type]
                    self.statements += 1
                    rows = yield query
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

        return await self._driver.read(counted, snapshot=snapshot)


async def test_a_page_and_a_tree_take_the_same_few_statements_whatever_is_in_them(
    database: Database, clock: FakeClock, store: Store, create: Create
) -> None:
    agents = [f"agt_{number}" for number in range(3)]
    roots = [await create(agent_id=agents[number % 3]) for number in range(6)]
    for root in roots:
        ended, _ = await recorded(store, clock, root, *range(1, 9))
        for _ in range(3):
            await recorded(store, clock, await create(parent_id=ended.id, agent_id="agt_0"), 1, 2)
    driver = Counting(store.driver)
    counted = Store.over(driver)
    for page, expected in (
        (RecordPage(100, 0), 24),
        (RecordPage(1, 3), 1),
        (RecordPage(100, 0, agents), 24),
        (RecordPage(2, 1, agents[1:]), 2),
        (RecordPage(5, 100), 0),
    ):
        driver.statements = 0
        found = await counted.records.page(WORKSPACE, page)
        assert (len(found), driver.statements) == (expected, 2)
        ids = [one.execution.id for one in found]
        assert ids == sorted(ids, reverse=True)
    driver.statements = 0
    assert len((await counted.records.tree(WORKSPACE, roots[0].id)).children) == 8 + 3
    assert driver.statements == 3
