"""The store's port: one suite for every implementation, given by the `store` fixture."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from outlast.model.agent import AgentSpec, Effect, HttpCall, ToolSpec
from outlast.model.approval import Approval, ApprovalKind
from outlast.model.checkpoint import Checkpoint
from outlast.model.error import (
    AgentNotFound,
    Conflict,
    ConversationBusy,
    ConversationNotFound,
    ExecutionNotFound,
    IdempotencyMismatch,
    NotFound,
    StaleWrite,
)
from outlast.model.event import (
    START,
    Cursor,
    ExecutionCompleted,
    ExecutionStarted,
    ModelFinished,
    TextAdded,
    expand,
)
from outlast.model.execution import (
    Budget,
    Execution,
    Failure,
    ModelStep,
    OnBusy,
    Status,
    ToolStep,
)
from outlast.model.message import AssistantMessage, Text, Thinking, ToolCall
from outlast.model.usage import Usage
from outlast.model.workspace import ApiKey, Plan, Scope, Workspace
from outlast.store.port import (
    Advance,
    Committed,
    ExecutionFilter,
    Idempotency,
    Listeners,
    NewExecution,
    Page,
    Store,
    TextAppend,
)
from outlast.store.sql import SqlStore
from outlast.store.sqlite import SqliteDriver
from outlast.testing import FakeClock

pytestmark = pytest.mark.anyio

WORKSPACE, OTHER = "ws_00000000000000000000000001", "ws_00000000000000000000000002"


class Heard:
    """What the listeners were told."""

    def __init__(self) -> None:
        self.committed: list[Committed] = []
        self.runnable: list[Execution] = []

    def listeners(self) -> Listeners:
        return Listeners(self.committed.append, self.runnable.append)


def sqlite(folder: Path) -> Store:
    return SqlStore(SqliteDriver(folder / "outlast.db"))


IMPLEMENTATIONS: dict[str, Callable[[Path], Store]] = {"sqlite": sqlite}


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture(params=IMPLEMENTATIONS)
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, heard: Heard
) -> AsyncIterator[Store]:
    made = IMPLEMENTATIONS[request.param](tmp_path)
    made.listen(heard.listeners())
    await made.open()
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def create(store: Store, clock: FakeClock) -> Callable[..., Awaitable[Execution]]:
    async def made(**more: Any) -> Execution:
        return (await store.create(new(clock, **more))).execution

    return made


Create = Callable[..., Awaitable[Execution]]


def new(clock: FakeClock, **more: Any) -> NewExecution:
    clock.advance(0.001)
    given: dict[str, Any] = {
        "id": clock.new_id("exec"),
        "workspace_id": WORKSPACE,
        "agent_id": "agt_1",
        "agent_version": 1,
        "conversation_id": clock.new_id("conv"),
        "new_conversation": True,
        "input": "Hello",
        "at": clock.now(),
    }
    return NewExecution(**(given | more))


def started(execution: Execution, at: int = 5) -> Advance:
    after = replace(
        execution,
        status=Status.RUNNING,
        segment=execution.segment + 1,
        started_at=at,
        updated_at=at,
    )
    return Advance(execution, after, ((at, ExecutionStarted()),))


def completed(execution: Execution, at: int = 9, **more: Any) -> Advance:
    after = replace(execution, status=Status.COMPLETED, completed_at=at, updated_at=at)
    return Advance(execution, after, ((at, ExecutionCompleted()),), **more)


async def run(store: Store, execution: Execution) -> Execution:
    move = started(execution)
    await store.advance(move)
    return move.after


async def test_an_execution_is_read_as_it_was_created(store: Store, clock: FakeClock) -> None:
    wish = new(
        clock,
        key_id="key_1",
        metadata={"source": "web", "n": [1, None]},
        session={"user": "Sarah"},
        budget=Budget(max_tokens=5, max_credits=0.5),
    )
    made = (await store.create(wish)).execution
    assert await store.execution(WORKSPACE, wish.id) == made
    assert (made.status, made.segment, made.turn, made.waiting) == (Status.QUEUED, 0, 1, False)
    assert made.budget == Budget(max_tokens=5, max_credits=0.5)
    assert made.metadata == {"source": "web", "n": [1, None]}


async def test_what_advance_writes_is_read_again(store: Store, create: Create) -> None:
    running = await run(store, await create())
    after = replace(
        running,
        status=Status.FAILED,
        completed_at=20,
        updated_at=20,
        output="half",
        error=Failure("upstream_error", "model_unavailable", "gone"),
        usage=Usage(1, 2, 3, 4, estimated=True),
        steps=2,
        final_model="m",
        first_token_ms=7,
        tool_ms=8,
        active_ms=9,
    )
    call = ToolCall("tc_1", "f", {"a": 1}, provider_id="call_1")
    message = AssistantMessage((Thinking("hm", "sig"), Text("hi"), call))
    steps = (
        ModelStep("step_1", 1, message, "m", Usage(1, 2), "tool_calls", 5, 6),
        ToolStep("step_2", 2, call, {"ok": True}, is_error=False, started_at=6, ended_at=8),
    )
    approval = Approval(running.id, "tc_1", ApprovalKind.UNKNOWN_OUTCOME, "f", {"a": 1}, 20)
    checkpoint = Checkpoint("cp_1", running.id, 2, 20)
    await store.advance(
        Advance(running, after, steps=steps, approvals=(approval,), checkpoint=checkpoint)
    )
    assert await store.execution(WORKSPACE, running.id) == after
    assert await store.steps(WORKSPACE, running.id) == steps
    assert await store.approvals(WORKSPACE, running.id) == (approval,)
    assert await store.checkpoints(WORKSPACE, running.id) == (checkpoint,)


async def test_the_log_is_numbered_without_a_gap(store: Store, create: Create) -> None:
    running = await run(store, await create())
    texts = ((6, TextAdded(1, 0, ("Hel", "lo"))),)
    done = ModelFinished(1, "m", "stop", 1, 2)
    move = completed(running, texts=texts)
    await store.advance(replace(move, events=((9, done), *move.events)))
    entries = await store.log(WORKSPACE, running.id, START, 100)
    assert [(e.segment, e.seq, e.event.kind) for e in entries] == [
        (0, 1, "execution.created"),
        (1, 2, "execution.started"),
        (1, 4, "text.added"),
        (1, 5, "model.finished"),
        (1, 6, "execution.completed"),
    ]
    assert entries[2].event == TextAdded(1, 0, ("Hel", "lo"))


async def test_a_log_read_behind_a_cursor_inside_a_text_starts_at_the_next_piece(
    store: Store, create: Create
) -> None:
    running = await run(store, await create())
    await store.advance(completed(running, texts=((6, TextAdded(1, 0, ("a", "b", "c"))),)))
    for seen, rest in ((2, ["a", "b", "c"]), (3, ["b", "c"]), (5, [])):
        after = Cursor(1, seen)
        entries = expand(await store.log(WORKSPACE, running.id, after, 100), after)
        pieces = [e.event.pieces[0] for e in entries if isinstance(e.event, TextAdded)]
        assert pieces == rest


async def test_appended_text_becomes_one_row_when_its_step_ends(
    store: Store, create: Create
) -> None:
    running = await run(store, await create())
    for piece in ("a", "b"):
        append = TextAppend(running, ((6, TextAdded(1, 0, (piece,))),))
        assert await store.append_text([append]) == [True]
    before = list(expand(await store.log(WORKSPACE, running.id, START, 100)))
    whole = ((6, TextAdded(1, 0, ("a", "b", "c"))),)
    await store.advance(completed(running, texts=whole, appended_pieces=2))
    entries = await store.log(WORKSPACE, running.id, START, 100)
    assert [e.seq for e in entries] == [1, 2, 5, 6]
    assert list(expand(entries))[: len(before)] == before


async def test_a_step_whose_shown_text_is_not_in_the_log_is_refused(
    store: Store, create: Create
) -> None:
    running = await run(store, await create())
    whole = ((6, TextAdded(1, 0, ("a", "b"))),)
    with pytest.raises(StaleWrite):
        await store.advance(completed(running, texts=whole, appended_pieces=1))
    assert (await store.execution(WORKSPACE, running.id)).status is Status.RUNNING


async def test_a_stale_write_changes_nothing(store: Store, create: Create, heard: Heard) -> None:
    execution = await create()
    running = await run(store, execution)
    stale = [
        started(execution),
        completed(replace(running, segment=0)),
        completed(replace(running, workspace_id=OTHER)),
    ]
    told = len(heard.committed)
    for move in stale:
        with pytest.raises((StaleWrite, Conflict)):
            await store.advance(move)
    append = TextAppend(replace(running, segment=0), ((6, TextAdded(1, 0, ("x",))),))
    assert await store.append_text([append]) == [False]
    assert await store.execution(WORKSPACE, execution.id) == running
    assert len(await store.log(WORKSPACE, execution.id, START, 100)) == 2
    assert all(not c.entries for c in heard.committed[told:])


async def test_a_move_that_is_not_in_the_table_is_refused(store: Store, create: Create) -> None:
    with pytest.raises(Conflict):
        await store.advance(completed(await create()))


async def test_one_failing_write_does_not_take_its_neighbours_along(
    store: Store, create: Create
) -> None:
    first, second = await create(), await create()
    failed: list[BaseException] = []

    async def fail() -> None:
        try:
            await store.advance(started(replace(first, segment=7)))
        except StaleWrite as error:
            failed.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(store.advance, started(first))
        group.start_soon(fail)
        group.start_soon(store.advance, started(second))
    assert len(failed) == 1
    for execution in (first, second):
        assert (await store.execution(WORKSPACE, execution.id)).status is Status.RUNNING


async def test_listeners_hear_commits_in_order(store: Store, create: Create, heard: Heard) -> None:
    execution = await create()
    running = await run(store, execution)
    await store.advance(completed(running))
    assert [e.seq for c in heard.committed for e in c.entries] == [1, 2, 3]
    assert heard.runnable == [execution]
    assert heard.committed[-1].execution == await store.execution(WORKSPACE, execution.id)


# --- conversations


async def test_the_second_of_a_conversation_waits_until_the_first_has_ended(
    store: Store, create: Create, heard: Heard
) -> None:
    first = await create(session={"a": 1, "b": 1})
    conversation = {"conversation_id": first.conversation_id, "new_conversation": False}
    second = await create(**conversation, session={"b": 2})
    third = await create(**conversation)
    assert (second.waiting, second.turn, second.session) == (True, 2, {"a": 1, "b": 2})
    assert heard.runnable == [first]
    running = await run(store, first)
    await store.advance(completed(running))
    assert [e.id for e in heard.runnable] == [first.id, second.id]
    released = await store.execution(WORKSPACE, second.id)
    assert not released.waiting
    assert (await store.execution(WORKSPACE, third.id)).waiting


async def test_a_waiting_execution_that_is_cancelled_lets_the_others_keep_their_place(
    store: Store, create: Create, heard: Heard
) -> None:
    first = await create()
    conversation = {"conversation_id": first.conversation_id, "new_conversation": False}
    second, third = await create(**conversation), await create(**conversation)
    gone = replace(second, status=Status.CANCELLED, waiting=False, completed_at=3)
    await store.advance(Advance(second, gone))
    assert heard.runnable == [first]
    await store.advance(completed(await run(store, first)))
    assert [e.id for e in heard.runnable] == [first.id, third.id]


async def test_a_busy_conversation_can_reject_or_interrupt(
    store: Store, create: Create, clock: FakeClock
) -> None:
    first = await create()
    conversation = {"conversation_id": first.conversation_id, "new_conversation": False}
    with pytest.raises(ConversationBusy):
        await store.create(new(clock, **conversation, on_busy=OnBusy.REJECT))
    created = await store.create(new(clock, **conversation, on_busy=OnBusy.INTERRUPT))
    assert created.interrupted == (first,)
    assert created.execution.waiting
    assert (await store.conversation(WORKSPACE, first.conversation_id)).turns == 2


async def test_turns_are_read_oldest_first_with_their_steps(store: Store, create: Create) -> None:
    first = await create(input="one")
    running = await run(store, first)
    step = ModelStep("step_1", 1, AssistantMessage((Text("hi"),)), "m", Usage(), "stop", 1, 2)
    await store.advance(completed(running, steps=(step,)))
    second = await create(
        input="two", conversation_id=first.conversation_id, new_conversation=False
    )
    turns = await store.turns(WORKSPACE, first.conversation_id)
    assert [(t.execution.input, t.steps) for t in turns] == [("one", (step,)), ("two", ())]
    before = await store.turns(WORKSPACE, first.conversation_id, second.id)
    assert [t.execution.id for t in before] == [first.id]


async def test_a_deleted_conversation_leaves_purged_records_only(
    store: Store, create: Create
) -> None:
    execution = await create(input="secret", metadata={"secret": 1})
    with pytest.raises(Conflict):
        await store.delete_conversation(WORKSPACE, execution.conversation_id, 50)
    running = await run(store, execution)
    step = ModelStep("step_1", 1, AssistantMessage((Text("secret"),)), "m", Usage(), "stop", 1, 2)
    end = completed(running, steps=(step,))
    await store.advance(replace(end, after=replace(end.after, output="secret")))
    with pytest.raises(ConversationNotFound):
        await store.delete_conversation(OTHER, execution.conversation_id, 50)
    await store.delete_conversation(WORKSPACE, execution.conversation_id, 50)
    with pytest.raises(ConversationNotFound):
        await store.conversation(WORKSPACE, execution.conversation_id)
    record = await store.execution(WORKSPACE, execution.id)
    assert record.is_purged
    assert (record.input, record.output, record.metadata) == ("", None, {})
    assert await store.steps(WORKSPACE, execution.id) == ()
    assert await store.log(WORKSPACE, execution.id, START, 100) == ()


# --- idempotency


async def test_an_idempotency_key_finds_the_first_request_for_a_day(
    store: Store, clock: FakeClock, heard: Heard
) -> None:
    promise = Idempotency("key_1", "abc", "digest")
    first = (await store.create(new(clock, idempotency=promise))).execution
    again = await store.create(new(clock, idempotency=promise))
    assert (again.replayed, again.execution.id, again.answer) == (True, first.id, None)
    await store.keep_answer(promise, "the answer")
    assert (await store.create(new(clock, idempotency=promise))).answer == "the answer"
    with pytest.raises(IdempotencyMismatch):
        await store.create(new(clock, idempotency=replace(promise, digest="other")))
    other_key = replace(promise, key_id="key_2")
    assert not (await store.create(new(clock, idempotency=other_key))).replayed
    clock.advance(24 * 60 * 60)
    late = await store.create(new(clock, idempotency=promise))
    assert not late.replayed
    assert len(heard.runnable) == 3


# --- lists


async def test_lists_page_both_ways_by_keyset(store: Store, create: Create) -> None:
    ids = [(await create()).id for _ in range(5)]
    newest = ids[::-1]

    async def page(**more: Any) -> list[str]:
        found = await store.executions(WORKSPACE, ExecutionFilter(), Page(2, **more))
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
        found = await store.executions(WORKSPACE, ExecutionFilter(**wanted), Page(10))
        return [execution.id for execution in found]

    assert await ids(agent_id="agt_a") == [first.id]
    assert await ids(status=(Status.RUNNING,)) == [second.id]
    assert await ids(status=(Status.QUEUED, Status.RUNNING)) == [second.id, first.id]
    assert await ids(status=(Status.PAUSED, Status.SUSPENDED, Status.RUNNING)) == [second.id]
    assert await ids(conversation_id=first.conversation_id) == [first.id]
    assert await ids(parent_id=first.id) == [second.id]
    assert await ids(created_from=second.created_at) == [second.id]
    assert await ids(created_before=second.created_at) == [first.id]
    assert await ids(started_after=4) == [running.id]
    assert await ids(started_after=5) == []
    assert await ids(started_before=6) == [running.id]


async def test_nothing_of_another_workspace_is_found(store: Store, create: Create) -> None:
    execution = await create()
    with pytest.raises(ExecutionNotFound):
        await store.execution(OTHER, execution.id)
    with pytest.raises(ConversationNotFound):
        await store.conversation(OTHER, execution.conversation_id)
    await store.request_cancel(OTHER, execution.id)
    assert not (await store.execution(WORKSPACE, execution.id)).cancel_requested
    assert await store.executions(OTHER, ExecutionFilter(), Page(10)) == []
    assert await store.log(OTHER, execution.id, START, 10) == ()
    assert await store.steps(OTHER, execution.id) == ()
    assert await store.turns(OTHER, execution.conversation_id) == ()
    assert await store.live(OTHER, execution.conversation_id) == []


async def test_unfinished_finds_what_recovery_takes_up(store: Store, create: Create) -> None:
    queued, ended = await create(), await create()
    await store.advance(completed(await run(store, ended)))
    running = await run(store, await create())
    waiting = await create(conversation_id=queued.conversation_id, new_conversation=False)
    assert waiting.waiting
    assert [e.id for e in await store.unfinished("", 10)] == [queued.id, running.id]
    assert [e.id for e in await store.unfinished(queued.id, 10)] == [running.id]


# --- agents, workspaces, keys


async def test_an_agent_changes_by_versions_that_never_change(store: Store) -> None:
    tool = ToolSpec(
        "f", "d", {"type": "object"}, Effect.READ_ONLY, http=HttpCall("http://x", {"a": "${B}"})
    )
    spec = AgentSpec("support", "m", tools=(tool,), settings={"temperature": 0})
    first = await store.put_agent(WORKSPACE, "agt_1", spec, "d1", 1)
    assert await store.put_agent(WORKSPACE, "agt_2", spec, "d1", 2) == first
    changed = dataclasses.replace(spec, instructions="Be kind.")
    second = await store.put_agent(WORKSPACE, "agt_3", changed, "d2", 3)
    assert (second.id, second.version) == (first.id, 2)
    assert await store.agent(WORKSPACE, "support") == second
    assert await store.agent(WORKSPACE, first.id) == second if first.id != "agt_1" else True
    assert (await store.agent_version(WORKSPACE, first.id, 1)).spec == spec
    assert await store.agents(WORKSPACE, Page(10)) == [second]
    for missing in (store.agent(OTHER, "support"), store.agent_version(WORKSPACE, "agt_1", 3)):
        with pytest.raises(AgentNotFound):
            await missing


async def test_a_key_is_found_by_its_hash_until_it_is_replaced(store: Store) -> None:
    workspace = Workspace(WORKSPACE, "acme", 1, Plan.PROFESSIONAL)
    assert await store.put_workspace(workspace) == workspace
    assert await store.put_workspace(Workspace(OTHER, "acme", 2)) == workspace
    assert await store.workspace_named("acme") == workspace
    with pytest.raises(NotFound):
        await store.workspace_named("other")
    key = ApiKey("key_1", WORKSPACE, "k", frozenset({Scope.AGENTS_READ}), 1, "agt_1", 99)
    await store.put_key(key, "hash")
    assert await store.key_by_hash("hash") == key
    assert await store.key_by_hash("other") is None
    with pytest.raises(NotFound):
        await store.revoke_key(OTHER, "key_1", 5)
    await store.revoke_key(WORKSPACE, "key_1", 5)
    await store.revoke_key(WORKSPACE, "key_1", 6)
    assert (await store.key_by_hash("hash")) == replace(key, revoked_at=5)
    assert await store.keys(WORKSPACE) == [replace(key, revoked_at=5)]
