"""The store's port, conversations: one suite for every implementation."""

from dataclasses import replace

import pytest

from outlast.model.error import (
    Conflict,
    ConversationBusy,
    ConversationNotFound,
    IdempotencyMismatch,
)
from outlast.model.event import (
    START,
)
from outlast.model.execution import (
    Failure,
    ModelStep,
    OnBusy,
    Status,
    ToolStep,
)
from outlast.model.message import AssistantMessage, Text, Thinking, ToolCall
from outlast.model.record import StepRecord
from outlast.model.usage import Usage
from outlast.store.conversations.store import ConversationFilter
from outlast.store.executions.values import Advance
from outlast.store.idempotency import Idempotency
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.databases import Database
from tests.support.store import OTHER, WORKSPACE, CommitLog, Create, completed, new, run

pytestmark = pytest.mark.anyio


async def test_conversations_are_listed_by_their_last_activity_page_by_page(
    store: Store, create: Create, clock: FakeClock
) -> None:
    made = [await create() for _ in range(5)]
    await create(workspace_id=OTHER)
    await store.executions.advance(completed(await run(store, made[1]), at=clock.now() + 9))
    again = {"conversation_id": made[3].conversation_id, "new_conversation": False}
    clock.advance(1)
    await create(**again)

    order = [made[n].conversation_id for n in (3, 1, 4, 2, 0)]
    whole = await store.conversations.page(WORKSPACE, ConversationFilter(), 9)
    assert [one.id for one in whole] == order
    assert whole[0].turns == 2

    found: list[str] = []
    wanted = ConversationFilter()
    while page := await store.conversations.page(WORKSPACE, wanted, 2):
        found += [one.id for one in page[:2]]
        last = page[:2][-1]
        wanted = ConversationFilter(after=(last.last_active_at, last.id))
    assert found == order


async def test_conversations_are_listed_by_agent_and_by_user(store: Store, create: Create) -> None:
    mine = await create(user="ann", agent_id="agt_2")
    other = await create(user="ann")
    unowned = await create(agent_id="agt_2")

    async def listed(**wanted: str) -> list[str]:
        found = await store.conversations.page(WORKSPACE, ConversationFilter(**wanted), 9)  # type: ignore[arg-type]
        return [one.id for one in found]

    assert await listed(user="ann") == [other.conversation_id, mine.conversation_id]
    assert await listed(agent_id="agt_2") == [unowned.conversation_id, mine.conversation_id]
    assert await listed(user="ann", agent_id="agt_2") == [mine.conversation_id]
    assert await listed(user="an") == []


async def test_conversations_of_the_same_moment_are_each_on_one_page(
    store: Store, create: Create, clock: FakeClock
) -> None:
    at = clock.now()
    made = [(await create(at=at)).conversation_id for _ in range(3)]
    first = await store.conversations.page(WORKSPACE, ConversationFilter(), 1)
    after = (first[0].last_active_at, first[0].id)
    rest = await store.conversations.page(WORKSPACE, ConversationFilter(after=after), 5)
    assert [first[0].id, *(one.id for one in rest)] == made[::-1]


async def test_the_second_of_a_conversation_waits_until_the_first_has_ended(
    store: Store, create: Create, commit_log: CommitLog
) -> None:
    first = await create(session={"a": 1, "b": 1})
    conversation = {"conversation_id": first.conversation_id, "new_conversation": False}
    second = await create(**conversation, session={"b": 2})
    third = await create(**conversation)
    assert (second.waiting, second.turn, second.session) == (True, 2, {"a": 1, "b": 2})
    assert commit_log.runnable == [first]
    running = await run(store, first)
    await store.executions.advance(completed(running))
    assert [e.id for e in commit_log.runnable] == [first.id, second.id]
    released = await store.executions.get(WORKSPACE, second.id)
    assert not released.waiting
    assert (await store.executions.get(WORKSPACE, third.id)).waiting


async def test_a_waiting_execution_that_is_cancelled_lets_the_others_keep_their_place(
    store: Store, create: Create, commit_log: CommitLog
) -> None:
    first = await create()
    conversation = {"conversation_id": first.conversation_id, "new_conversation": False}
    second, third = await create(**conversation), await create(**conversation)
    gone = replace(second, status=Status.CANCELLED, waiting=False, completed_at=3)
    await store.executions.advance(Advance(second, gone))
    assert commit_log.runnable == [first]
    await store.executions.advance(completed(await run(store, first)))
    assert [e.id for e in commit_log.runnable] == [first.id, third.id]


async def test_a_busy_conversation_can_reject_or_interrupt(
    store: Store, create: Create, clock: FakeClock
) -> None:
    first = await create()
    conversation = {"conversation_id": first.conversation_id, "new_conversation": False}
    with pytest.raises(ConversationBusy):
        await store.executions.create(new(clock, **conversation, on_busy=OnBusy.REJECT))
    running = await run(store, first)
    created = await store.executions.create(new(clock, **conversation, on_busy=OnBusy.INTERRUPT))
    assert created.interrupted == (running,)
    assert (await store.executions.requested()).cancel == (first.id,)
    assert created.execution.waiting
    assert (await store.conversations.get(WORKSPACE, first.conversation_id)).turns == 2


async def test_an_interrupt_ends_what_waits_in_the_commit_that_makes_its_turn(
    store: Store, create: Create, clock: FakeClock, commit_log: CommitLog
) -> None:
    running = await run(store, await create())
    conversation = {"conversation_id": running.conversation_id, "new_conversation": False}
    waiting = await create(**conversation)
    await store.executions.advance(Advance(running, replace(running, status=Status.SUSPENDED)))
    earlier = len(commit_log.runnable)
    created = await store.executions.create(new(clock, **conversation, on_busy=OnBusy.INTERRUPT))
    assert created.interrupted == ()
    assert not created.execution.waiting
    assert commit_log.runnable[earlier:] == [created.execution]
    for gone in (running, waiting):
        found = await store.executions.get(WORKSPACE, gone.id)
        assert found.status is Status.CANCELLED
        last = (await store.executions.log(WORKSPACE, gone.id, START, 99))[-1]
        assert last.event.kind == "execution.cancelled"


async def test_turns_are_read_oldest_first_with_their_steps(store: Store, create: Create) -> None:
    first = await create(input="one")
    running = await run(store, first)
    step = ModelStep("step_1", 1, AssistantMessage((Text("hi"),)), "m", Usage(), "stop", 1, 2)
    await store.executions.advance(completed(running, steps=(step,)))
    second = await create(
        input="two", conversation_id=first.conversation_id, new_conversation=False
    )
    turns = await store.conversations.turns(WORKSPACE, first.conversation_id)
    assert [(t.execution.input, t.steps) for t in turns] == [("one", (step,)), ("two", ())]
    before = await store.conversations.turns(WORKSPACE, first.conversation_id, second.turn)
    assert [t.execution.id for t in before] == [first.id]


async def test_a_deleted_conversation_leaves_purged_records_only(
    store: Store, create: Create, database: Database
) -> None:
    execution = await create(input="secret", metadata={"secret": 1})
    with pytest.raises(Conflict):
        await store.conversations.delete(WORKSPACE, execution.conversation_id, 50)
    running = await run(store, execution)
    wanted = ToolCall("tc_1", "look", {"secret": 1}, "secret", "secret")
    said = AssistantMessage((Text("secret"), Thinking("secret", "secret"), wanted))
    model = ModelStep("step_1", 1, said, "m", Usage(1, 2), "tool_calls", 1, 2, "digest of secrets")
    tool = ToolStep("step_2", 2, wanted, {"secret": ["secret"]}, False, 3, 4)
    end = completed(running, steps=(model, tool))
    await store.executions.advance(replace(end, after=replace(end.after, output="secret")))
    with pytest.raises(ConversationNotFound):
        await store.conversations.delete(OTHER, execution.conversation_id, 50)
    await store.conversations.delete(WORKSPACE, execution.conversation_id, 50)
    with pytest.raises(ConversationNotFound):
        await store.conversations.get(WORKSPACE, execution.conversation_id)
    record = await store.executions.get(WORKSPACE, execution.id)
    assert record.is_purged
    assert (record.input, record.output, record.metadata) == ("", None, {})
    assert await store.executions.steps(WORKSPACE, execution.id) == ()
    assert await store.executions.log(WORKSPACE, execution.id, START, 100) == ()
    tables = ("executions", "steps", "events", "checkpoints", "waits", "charges")
    assert "secret" not in str([database.rows(f"SELECT * FROM {table}") for table in tables])
    called, answered = sorted(
        (node.record for node in (await store.records.tree(WORKSPACE, execution.id)).children),
        key=lambda record: record.began,
    )
    assert isinstance(called, StepRecord)
    assert isinstance(answered, StepRecord)
    assert called.step == replace(model, message=AssistantMessage(()), request_digest="")
    assert answered.step == replace(tool, call=ToolCall("tc_1", "look", {}), result=None)


async def test_what_an_error_said_is_gone_with_its_conversation(
    store: Store, create: Create
) -> None:
    running = await run(store, await create())
    failure = Failure("execution_error", "code_failed", "ValueError: secret")
    failed = replace(running, status=Status.FAILED, completed_at=9, error=failure)
    await store.executions.advance(Advance(running, failed))
    await store.conversations.delete(WORKSPACE, running.conversation_id, 50)
    record = await store.executions.get(WORKSPACE, running.id)
    assert record.error == Failure("execution_error", "code_failed", "")


async def test_an_idempotency_key_finds_the_first_request_for_a_day(
    store: Store, clock: FakeClock, commit_log: CommitLog
) -> None:
    promise = Idempotency("key_1", "abc", "digest")
    first = (await store.executions.create(new(clock, idempotency=promise))).execution
    again = await store.executions.create(new(clock, idempotency=promise))
    assert (again.replayed, again.execution.id, again.answer) == (True, first.id, None)
    await store.idempotency.keep_answer(promise, "the answer")
    assert (await store.executions.create(new(clock, idempotency=promise))).answer == "the answer"
    with pytest.raises(IdempotencyMismatch):
        await store.executions.create(new(clock, idempotency=replace(promise, digest="other")))
    other_key = replace(promise, key_id="key_2")
    assert not (await store.executions.create(new(clock, idempotency=other_key))).replayed
    clock.advance(24 * 60 * 60)
    late = await store.executions.create(new(clock, idempotency=promise))
    assert not late.replayed
    assert len(commit_log.runnable) == 3


async def test_turns_follow_each_other_in_the_order_they_were_taken_whatever_their_ids(
    store: Store, create: Create, clock: FakeClock, commit_log: CommitLog
) -> None:
    """Ids come from the clocks of many hosts, and one of them may be behind."""
    first = await create()
    conversation = {"conversation_id": first.conversation_id, "new_conversation": False}
    await store.executions.advance(completed(await run(store, first)))
    behind, ahead, third = (new(clock, **conversation) for _ in range(3))
    running = await run(store, (await store.executions.create(ahead)).execution)
    waiting = (await store.executions.create(behind)).execution
    assert (running.turn, waiting.turn, waiting.waiting) == (2, 3, True)
    before = await store.conversations.turns(WORKSPACE, first.conversation_id, waiting.turn)
    assert [turn.execution.id for turn in before] == [first.id, running.id]

    cancelled = (await store.executions.create(third)).execution
    gone = replace(cancelled, status=Status.CANCELLED, waiting=False, completed_at=3)
    await store.executions.advance(Advance(cancelled, gone))
    live = await store.executions.live(WORKSPACE, first.conversation_id)
    assert [(e.id, e.waiting) for e in live] == [(running.id, False), (waiting.id, True)]
    await store.executions.advance(completed(running))
    assert [e.id for e in commit_log.runnable] == [first.id, running.id, waiting.id]
