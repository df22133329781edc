"""The store's port, lists: one suite for every implementation."""

from dataclasses import replace
from typing import Any

import pytest

from outlast.model.error import (
    ConversationNotFound,
    ExecutionNotFound,
)
from outlast.model.event import START, Event, ExecutionCancelled, ExecutionCompleted
from outlast.model.execution import Status
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.executions.values import Advance
from outlast.store.page import Page
from outlast.store.store import Store
from tests.support.store import OTHER, WORKSPACE, Create, completed, run

pytestmark = pytest.mark.anyio


async def test_lists_page_both_ways_by_keyset(store: Store, create: Create) -> None:
    ids = [(await create()).id for _ in range(5)]
    newest = ids[::-1]

    async def page(**more: Any) -> list[str]:
        found = await store.executions.page(WORKSPACE, ExecutionFilter(), Page(2, **more))
        return [execution.id for execution in found]

    assert await page() == newest[:3]
    assert await page(after=newest[1]) == newest[2:5]
    assert await page(after=newest[3]) == newest[4:]
    assert await page(before=newest[3]) == newest[0:3]
    assert await page(before=newest[0]) == []
    assert await page(after=newest[0], before=newest[3]) == newest[1:3]


async def test_lists_filter_by_everything_they_promise(store: Store, create: Create) -> None:
    first = await create(agent_id="agt_a")
    second = await create(agent_id="agt_b", parent_id=first.id)
    running = await run(store, second)

    async def ids(**wanted: Any) -> list[str]:
        found = await store.executions.page(WORKSPACE, ExecutionFilter(**wanted), Page(10))
        return [execution.id for execution in found]

    assert await ids(agent_id="agt_a") == [first.id]
    assert await ids(status=(Status.RUNNING,)) == [second.id]
    assert await ids(status=(Status.QUEUED, Status.RUNNING)) == [second.id, first.id]
    assert await ids(status=(Status.PAUSED, Status.SUSPENDED, Status.RUNNING)) == [second.id]
    assert await ids(roots=True) == [first.id]
    assert await ids(conversation_id=first.conversation_id) == [first.id]
    assert await ids(parent_id=first.id) == [second.id]
    assert await ids(created_from=second.created_at) == [second.id]
    assert await ids(created_before=second.created_at) == [first.id]
    assert await ids(started_after=4) == [running.id]
    assert await ids(started_after=5) == []
    assert await ids(started_before=6) == [running.id]


async def test_several_statuses_page_both_ways_as_one_list(store: Store, create: Create) -> None:
    made = [await create() for _ in range(6)]
    for one in made[1::2]:
        await store.executions.advance(completed(await run(store, one)))
    newest = [one.id for one in made][::-1]
    wanted = ExecutionFilter(status=(Status.COMPLETED, Status.QUEUED))

    async def page(**more: Any) -> list[str]:
        listed = await store.executions.listed(WORKSPACE, wanted, Page(2, **more))
        found = await store.executions.page(WORKSPACE, wanted, Page(2, **more))
        assert [one.execution.id for one in listed] == [one.id for one in found]
        return [one.id for one in found]

    assert await page() == newest[:3]
    assert await page(after=newest[1]) == newest[2:5]
    assert await page(before=newest[4]) == newest[1:4]
    bounds = [made[0].id, made[3].id, made[5].id]
    assert await store.executions.counts(WORKSPACE, bounds, 10) == [(3, 0), (2, 0)]
    assert await store.executions.counts(WORKSPACE, bounds, 2) == [(2, 0), (2, 0)]


@pytest.mark.parametrize(
    ("status", "event"),
    [
        (Status.COMPLETED, ExecutionCompleted()),
        (Status.CANCELLED, ExecutionCancelled()),
        (Status.RUNNING, None),
        (Status.QUEUED, None),
    ],
)
async def test_an_agents_executions_with_a_status_page_both_ways(
    store: Store, create: Create, status: Status, event: Event | None
) -> None:
    made = [await create(agent_id=f"agt_{n % 3 % 2}") for n in range(9)]
    for one in made if status is not Status.QUEUED else made[:0]:
        running = await run(store, one)
        if event is not None:
            after = replace(running, status=status, completed_at=9, updated_at=9)
            await store.executions.advance(Advance(running, after, ((9, event),)))
    newest = [one.id for one in made if one.agent_id == "agt_0"][::-1]
    assert len(newest) == 6

    async def page(*statuses: Status, **more: Any) -> list[str]:
        wanted = ExecutionFilter(agent_id="agt_0", status=statuses)
        found = await store.executions.page(WORKSPACE, wanted, Page(2, **more))
        return [one.id for one in found]

    assert await page(status) == newest[:3]
    assert await page(status, after=newest[1]) == newest[2:5]
    assert await page(status, before=newest[4]) == newest[1:4]
    assert await page(Status.FAILED) == await page(Status.PAUSED) == []
    assert await page(Status.FAILED, status, after=newest[3]) == newest[4:]


async def test_nothing_of_another_workspace_is_found(store: Store, create: Create) -> None:
    execution = await create()
    with pytest.raises(ExecutionNotFound):
        await store.executions.get(OTHER, execution.id)
    with pytest.raises(ConversationNotFound):
        await store.conversations.get(OTHER, execution.conversation_id)
    await store.executions.request_cancel(OTHER, execution.id)
    assert not (await store.executions.get(WORKSPACE, execution.id)).cancel_requested
    assert await store.executions.page(OTHER, ExecutionFilter(), Page(10)) == []
    assert await store.executions.log(OTHER, execution.id, START, 10) == ()
    assert await store.executions.steps(OTHER, execution.id) == ()
    assert await store.conversations.turns(OTHER, execution.conversation_id) == ()
    assert await store.executions.live(OTHER, execution.conversation_id) == []


async def test_unfinished_finds_what_recovery_takes_up(store: Store, create: Create) -> None:
    queued, ended = await create(), await create()
    await store.executions.advance(completed(await run(store, ended)))
    running = await run(store, await create())
    waiting = await create(conversation_id=queued.conversation_id, new_conversation=False)
    assert waiting.waiting
    assert [e.id for e in await store.executions.unfinished("", 10)] == [queued.id, running.id]
    assert [e.id for e in await store.executions.unfinished(queued.id, 10)] == [running.id]
