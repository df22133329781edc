"""The store's port, executions: one suite for every implementation."""

from dataclasses import replace

import anyio
import pytest

from outlast.model.checkpoint import Checkpoint
from outlast.model.error import (
    Conflict,
    Overloaded,
    Refused,
    StaleWrite,
)
from outlast.model.event import (
    START,
    Cursor,
    ExecutionPaused,
    ExecutionSuspended,
    ModelFinished,
    TextAdded,
    ThinkingAdded,
    expand,
)
from outlast.model.execution import (
    Budget,
    Failure,
    ModelStep,
    Status,
    ToolStep,
)
from outlast.model.message import AssistantMessage, Text, Thinking, ToolCall
from outlast.model.usage import Usage
from outlast.model.wait import Wait, WaitKind
from outlast.store.executions.values import Advance, TextAppend
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.databases import Database
from tests.support.store import OTHER, WORKSPACE, CommitLog, Create, completed, new, run, started

pytestmark = pytest.mark.anyio


async def test_an_execution_is_read_as_it_was_created(store: Store, clock: FakeClock) -> None:
    request = new(
        clock,
        key_id="key_1",
        metadata={"source": "web", "n": [1, None]},
        session={"user": "Sarah"},
        budget=Budget(max_tokens=5, max_credits=0.5),
    )
    made = (await store.executions.create(request)).execution
    assert await store.executions.get(WORKSPACE, request.id) == made
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
    approval = Wait(running.id, "tc_1", WaitKind.UNKNOWN_OUTCOME, "f", {"a": 1}, 20)
    checkpoint = Checkpoint("cp_1", running.id, 2, 20)
    await store.executions.advance(
        Advance(running, after, steps=steps, waits=(approval,), checkpoint=checkpoint)
    )
    assert await store.executions.get(WORKSPACE, running.id) == after
    assert await store.executions.steps(WORKSPACE, running.id) == steps
    found = await store.executions.details(WORKSPACE, [running.id, "exec_none"])
    assert {one: seen.steps for one, seen in found.items()} == {running.id: steps}
    assert await store.executions.details(OTHER, [running.id]) == {}
    assert await store.waits.of(WORKSPACE, running.id) == (approval,)
    assert await store.checkpoints.of(WORKSPACE, running.id) == (checkpoint,)


async def test_the_log_is_numbered_without_a_gap(store: Store, create: Create) -> None:
    running = await run(store, await create())
    texts = ((6, TextAdded(1, 0, ("Hel", "lo"))),)
    done = ModelFinished(1, "m", "stop", 1, 2)
    move = completed(running, texts=texts)
    await store.executions.advance(replace(move, events=((9, done), *move.events)))
    entries = await store.executions.log(WORKSPACE, running.id, START, 100)
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
    await store.executions.advance(
        completed(running, texts=((6, TextAdded(1, 0, ("a", "b", "c"))),))
    )
    for seen, rest in ((2, ["a", "b", "c"]), (3, ["b", "c"]), (5, [])):
        after = Cursor(1, seen)
        entries = expand(await store.executions.log(WORKSPACE, running.id, after, 100), after)
        pieces = [e.event.pieces[0] for e in entries if isinstance(e.event, TextAdded)]
        assert pieces == rest


async def test_appended_text_becomes_one_row_when_its_step_ends(
    store: Store, create: Create
) -> None:
    running = await run(store, await create())
    for piece in ("a", "b"):
        append = TextAppend(running, ((6, TextAdded(1, 0, (piece,))),))
        assert await store.executions.append_text([append]) == [True]
    before = list(expand(await store.executions.log(WORKSPACE, running.id, START, 100)))
    whole = ((6, TextAdded(1, 0, ("a", "b", "c"))),)
    await store.executions.advance(completed(running, texts=whole, appended_pieces=2))
    entries = await store.executions.log(WORKSPACE, running.id, START, 100)
    assert [e.seq for e in entries] == [1, 2, 5, 6]
    assert list(expand(entries))[: len(before)] == before


async def test_a_step_whose_shown_text_is_not_in_the_log_is_refused(
    store: Store, create: Create
) -> None:
    running = await run(store, await create())
    whole = ((6, TextAdded(1, 0, ("a", "b"))),)
    with pytest.raises(StaleWrite):
        await store.executions.advance(completed(running, texts=whole, appended_pieces=1))
    assert (await store.executions.get(WORKSPACE, running.id)).status is Status.RUNNING


@pytest.mark.parametrize("lost", [1, 2, 4])
async def test_a_step_whose_last_text_a_power_cut_took_from_the_log_is_refused(
    store: Store, database: Database, create: Create, lost: int
) -> None:
    running = await run(store, await create())
    pieces = ("a", "b", "c", "d")
    for piece in pieces:
        append = TextAppend(running, ((6, TextAdded(1, 0, (piece,))),))
        assert await store.executions.append_text([append]) == [True]
    database.rows(f"DELETE FROM events WHERE seq > {2 + len(pieces) - lost}")
    before = await store.executions.log(WORKSPACE, running.id, START, 100)
    whole = ((6, TextAdded(1, 0, pieces)),)
    with pytest.raises(StaleWrite):
        await store.executions.advance(completed(running, texts=whole, appended_pieces=4))
    assert await store.executions.log(WORKSPACE, running.id, START, 100) == before
    assert (await store.executions.get(WORKSPACE, running.id)).status is Status.RUNNING


async def test_text_of_many_steps_is_appended_at_once_each_behind_its_own_log(
    store: Store, create: Create, commit_log: CommitLog
) -> None:
    running = [await run(store, await create()) for _ in range(5)]
    passed = replace(running[0], segment=0)
    queued = await create()
    given = [
        TextAppend(one, tuple((6 + n, _text(n)) for n in range(number + 1)))
        for number, one in enumerate([*running, passed, queued])
    ]
    earlier = len(commit_log.committed)
    kept = await store.executions.append_text(list(reversed(given)))
    assert kept == [False, False, True, True, True, True, True]
    for one in given[:5]:
        entries = (await store.executions.log(WORKSPACE, one.execution.id, START, 100))[2:]
        assert [entry.event for entry in entries] == [text for _, text in one.texts]
        assert [entry.at for entry in entries] == [at for at, _ in one.texts]
        ends = [entry.seq for entry in entries]
        assert ends == [2 + sum(range(1, n + 2)) for n in range(len(ends))]
        [said] = [
            c
            for c in commit_log.committed[earlier:]
            if c.execution_id == one.execution.id and c.entries
        ]
        assert said.entries == entries
    assert await store.executions.append_text([]) == []


def _text(number: int) -> TextAdded | ThinkingAdded:
    """More pieces each time, and such as are hard to quote."""
    kind = TextAdded if number % 2 else ThinkingAdded
    return kind(1, number, tuple(f"{n}\"\\',{{}}NULL é\n" for n in range(number + 1)))


async def test_a_stale_write_changes_nothing(
    store: Store, create: Create, commit_log: CommitLog
) -> None:
    execution = await create()
    running = await run(store, execution)
    stale = [
        started(execution),
        completed(replace(running, segment=0)),
        completed(replace(running, workspace_id=OTHER)),
    ]
    earlier = len(commit_log.committed)
    for move in stale:
        with pytest.raises((StaleWrite, Conflict)):
            await store.executions.advance(move)
    append = TextAppend(replace(running, segment=0), ((6, TextAdded(1, 0, ("x",))),))
    assert await store.executions.append_text([append]) == [False]
    assert await store.executions.get(WORKSPACE, execution.id) == running
    assert len(await store.executions.log(WORKSPACE, execution.id, START, 100)) == 2
    assert all(not c.entries for c in commit_log.committed[earlier:])


async def test_a_move_that_is_not_in_the_table_is_refused(store: Store, create: Create) -> None:
    with pytest.raises(Conflict):
        await store.executions.advance(completed(await create()))


async def test_one_failing_write_does_not_take_its_neighbours_along(
    store: Store, create: Create
) -> None:
    first, second = await create(), await create()
    failed: list[BaseException] = []

    async def fail() -> None:
        try:
            await store.executions.advance(started(replace(first, segment=7)))
        except StaleWrite as error:
            failed.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(store.executions.advance, started(first))
        group.start_soon(fail)
        group.start_soon(store.executions.advance, started(second))
    assert len(failed) == 1
    for execution in (first, second):
        assert (await store.executions.get(WORKSPACE, execution.id)).status is Status.RUNNING


async def test_listeners_get_commits_in_order(
    store: Store, create: Create, commit_log: CommitLog
) -> None:
    execution = await create()
    running = await run(store, execution)
    await store.executions.advance(completed(running))
    assert [e.seq for c in commit_log.committed for e in c.entries] == [1, 2, 3]
    assert commit_log.runnable == [execution]
    assert commit_log.committed[-1].execution == await store.executions.get(WORKSPACE, execution.id)


async def test_an_impossible_row_is_refused_by_the_database(store: Store, create: Create) -> None:
    execution = await create()
    impossible = [
        replace(execution, status=Status.CANCELLED),
        replace(execution, status=Status.RUNNING, started_at=None),
        replace(execution, status=Status.FAILED, completed_at=1),
        replace(execution, status=Status.CANCELLED, completed_at=1, waiting=True),
    ]
    for after in impossible:
        with pytest.raises((Refused, Overloaded), match=r"(?i)check constraint"):
            await store.executions.advance(Advance(execution, after))
    assert await store.executions.get(WORKSPACE, execution.id) == execution


async def test_a_closed_store_says_so(database: Database, clock: FakeClock) -> None:
    store = Store.over(database.driver())
    await store.open()
    await store.close()
    with pytest.raises(Overloaded, match="closed"):
        await store.executions.create(new(clock))
    with pytest.raises(Overloaded, match="closed"):
        await store.ready()


@pytest.mark.parametrize("status", [Status.SUSPENDED, Status.PAUSED])
async def test_a_cancel_that_was_requested_while_a_segment_came_to_rest_ends_the_execution(
    store: Store, create: Create, clock: FakeClock, commit_log: CommitLog, status: Status
) -> None:
    running = await run(store, await create())
    turn = {"conversation_id": running.conversation_id, "new_conversation": False}
    following = (await store.executions.create(new(clock, **turn))).execution
    await store.executions.request_cancel(WORKSPACE, running.id)
    event = ExecutionSuspended() if status is Status.SUSPENDED else ExecutionPaused()
    move = Advance(running, replace(running, status=status), ((9, event),))
    entries = (await store.executions.advance(move)).entries
    assert [entry.event.kind for entry in entries] == [event.kind, "execution.cancelled"]
    found = await store.executions.get(WORKSPACE, running.id)
    assert found.status is Status.CANCELLED
    assert found.completed_at is not None
    assert commit_log.runnable[-1].id == following.id
    assert await store.executions.log(WORKSPACE, running.id, START, 99) == (
        *await store.executions.log(WORKSPACE, running.id, START, 2),
        *entries,
    )


@pytest.mark.parametrize("tokens", [10**18, 2**63, 10**40])
async def test_usage_that_no_column_holds_is_a_refusal_and_the_next_write_is_taken(
    store: Store, create: Create, tokens: int
) -> None:
    running = await run(store, await create())
    absurd = replace(running, usage=Usage(tokens * 10, tokens))
    with pytest.raises(Refused):
        await store.executions.advance(completed(absurd))
    assert await store.executions.get(WORKSPACE, running.id) == running
    await store.executions.advance(completed(running))
    await store.ready()
