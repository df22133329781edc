"""The store's port, approvals and checkpoints: one suite for every implementation."""

from collections.abc import Sequence
from dataclasses import replace

import anyio
import pytest

from outlast.model.checkpoint import Checkpoint
from outlast.model.error import (
    ApprovalNotFound,
    CheckpointNotFound,
    Conflict,
    ConversationBusy,
    ConversationNotFound,
    ExecutionNotFound,
    StaleWrite,
)
from outlast.model.event import START, ExecutionPaused, ExecutionSuspended
from outlast.model.execution import Execution, ModelStep, PauseRequest, Status, Step, ToolStep
from outlast.model.message import AssistantMessage, Text, ToolCall
from outlast.model.usage import Usage
from outlast.model.wait import Decision, Wait, WaitKind
from outlast.store.executions.values import Advance, Resume
from outlast.store.store import Store
from outlast.store.waits.decide import DecideWait
from outlast.store.waits.store import PendingPage
from outlast.testing import FakeClock
from tests.support.store import OTHER, WORKSPACE, CommitLog, Create, completed, new, run, started

pytestmark = pytest.mark.anyio
CALLS = (ToolCall("tc_1", "pay", {"a": 1}), ToolCall("tc_2", "pay", {"a": 2}))


def answer(number: int, *calls: ToolCall) -> ModelStep:
    message = AssistantMessage((Text(f"said {number}"), *calls))
    return ModelStep(f"step_{number}", number, message, "m", Usage(10, 5), "stop", 5, 6)


def result(number: int, call: ToolCall) -> ToolStep:
    return ToolStep(f"step_{number}", number, call, "ok", is_error=False, started_at=6, ended_at=8)


async def recorded(
    store: Store, before: Execution, steps: Sequence[Step], **more: object
) -> Execution:
    """Each step in a commit of its own, with a checkpoint behind it."""
    for step in steps:
        checkpoint = Checkpoint(f"cp_{step.number:03d}", before.id, step.number, 6)
        usage = before.usage + (step.usage if isinstance(step, ModelStep) else Usage())
        after = replace(before, usage=usage, steps=before.steps + 1)
        await store.executions.advance(Advance(before, after, steps=(step,), checkpoint=checkpoint))
        before = after
    return before


async def waiting(store: Store, execution: Execution, *calls: ToolCall) -> Execution:
    """Suspended over these calls."""
    running = await run(store, execution)
    opened = tuple(
        Wait(running.id, c.id, WaitKind.APPROVAL, c.name, c.parameters, 7, step=n)
        for n, c in enumerate(calls, 2)
    )
    after = replace(running, status=Status.SUSPENDED, steps=1, usage=Usage(10, 5))
    await store.executions.advance(
        Advance(
            running,
            after,
            ((7, ExecutionSuspended()),),
            steps=(answer(1, *calls),),
            checkpoint=Checkpoint("cp_001", running.id, 1, 7),
            waits=opened,
        )
    )
    return after


def said(on: Execution, call: str, approved: bool, key: str | None = "key_1") -> DecideWait:
    """Without a key: its time is over."""
    decision = None if key is None else Decision(approved)
    return DecideWait(WORKSPACE, on.id, call, 9, decision, key)


async def test_the_last_decision_makes_a_suspended_execution_runnable(
    store: Store, create: Create, commit_log: CommitLog
) -> None:
    execution = await waiting(store, await create(), *CALLS)
    earlier = len(commit_log.runnable)
    first = await store.waits.decide(said(execution, "tc_1", approved=True))
    assert (first.approved, first.decided_at, first.decided_by) == (True, 9, "key_1")
    assert (await store.executions.get(WORKSPACE, execution.id)).status is Status.SUSPENDED
    assert len(commit_log.runnable) == earlier
    await store.waits.decide(said(execution, "tc_2", approved=False))
    assert (await store.executions.get(WORKSPACE, execution.id)).status is Status.QUEUED
    assert [e.id for e in commit_log.runnable[earlier:]] == [execution.id]
    kinds = [e.event.kind for e in await store.executions.log(WORKSPACE, execution.id, START, 99)]
    assert kinds[-2:] == ["approval.resolved", "approval.resolved"]


async def test_of_decisions_at_once_the_first_stands(
    store: Store, create: Create, commit_log: CommitLog
) -> None:
    execution = await waiting(store, await create(), CALLS[0])
    earlier, refused, decided = len(commit_log.runnable), [], []

    async def decide(approved: bool) -> None:
        try:
            decided.append(await store.waits.decide(said(execution, "tc_1", approved)))
        except Conflict as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(decide, number % 2 == 0)
    assert (len(decided), len(refused)) == (5, 5)
    assert len(set(map(repr, decided))) == 1
    assert len(commit_log.runnable) == earlier + 1
    kinds = [e.event.kind for e in await store.executions.log(WORKSPACE, execution.id, START, 99)]
    assert kinds.count("approval.resolved") == 1


async def test_a_decision_that_came_before_the_suspension_lets_it_go_on(
    store: Store, create: Create, commit_log: CommitLog
) -> None:
    """The segment does not know yet; the store does."""
    running = await run(store, await create())
    opened = Wait(running.id, "tc_1", WaitKind.APPROVAL, "pay", {}, 7)
    await store.executions.advance(Advance(running, running, waits=(opened,)))
    await store.waits.decide(said(running, "tc_1", approved=True))
    suspended = replace(running, status=Status.SUSPENDED)
    await store.executions.advance(Advance(running, suspended, ((8, ExecutionSuspended()),)))
    assert (await store.executions.get(WORKSPACE, running.id)).status is Status.QUEUED
    assert commit_log.runnable[-1].id == running.id


async def test_only_requests_of_ours_are_decided(store: Store, create: Create) -> None:
    execution = await waiting(store, await create(), CALLS[0])
    with pytest.raises(ApprovalNotFound):
        await store.waits.decide(said(execution, "tc_9", approved=True))
    with pytest.raises(ExecutionNotFound):
        await store.waits.decide(
            replace(said(execution, "tc_1", approved=True), workspace_id=OTHER)
        )
    assert await store.waits.pending(OTHER, PendingPage(9)) == []
    expiring = await store.waits.decide(said(execution, "tc_1", approved=True, key=None))
    assert expiring.is_open, "what does not expire stays open"


async def test_open_approvals_of_live_executions_are_listed_newest_first(
    store: Store, create: Create
) -> None:
    first = await waiting(store, await create(), *CALLS)
    second = await waiting(store, await create(), CALLS[0])
    gone = await waiting(store, await create(), CALLS[0])
    await store.executions.advance(completed_from(gone))
    await store.waits.decide(said(first, "tc_1", approved=True))
    found = await store.waits.pending(WORKSPACE, PendingPage(9))
    assert [(a.execution_id, a.tool_call_id) for a in found] == [
        (second.id, "tc_1"),
        (first.id, "tc_2"),
    ]
    assert len(await store.waits.pending(WORKSPACE, PendingPage(1))) == 2
    after = await store.waits.pending(WORKSPACE, PendingPage(9, (second.id, "tc_1")))
    assert [a.execution_id for a in after] == [first.id]


def completed_from(execution: Execution) -> Advance:
    return Advance(execution, replace(execution, status=Status.CANCELLED, completed_at=9))


async def test_what_has_expired_is_found_and_decided_once(store: Store, create: Create) -> None:
    running = await run(store, await create())
    opened = Wait(
        running.id,
        "tc_1",
        WaitKind.APPROVAL,
        "pay",
        {},
        7,
        due_at=50,
        due_approved=True,
    )
    suspended = replace(running, status=Status.SUSPENDED)
    await store.executions.advance(Advance(running, suspended, waits=(opened,)))
    assert await store.waits.due(49, 9) == []
    assert await store.waits.due(50, 9) == [(WORKSPACE, opened)]
    request = replace(said(suspended, "tc_1", approved=True, key=None), at=50)
    assert (decided := await store.waits.decide(request)).decided_by is None
    assert decided == await store.waits.decide(replace(request, at=60))
    assert await store.waits.due(99, 9) == []


async def test_a_pause_stays_while_its_segment_writes(store: Store, create: Create) -> None:
    running = await run(store, await create())
    request = PauseRequest(now=True, reason="lunch")
    await store.executions.request_pause(WORKSPACE, running.id, request)
    await store.executions.request_pause(OTHER, running.id, PauseRequest())
    await store.executions.advance(Advance(running, running))
    assert (await store.executions.get(WORKSPACE, running.id)).pause_requested == request
    assert (await store.executions.requested()).pause == ((running.id, request),)
    paused = replace(running, status=Status.PAUSED)
    await store.executions.advance(Advance(running, paused, ((8, ExecutionPaused("lunch")),)))
    assert (await store.executions.get(WORKSPACE, running.id)).pause_requested is None
    assert (await store.executions.requested()).pause == ()


async def test_a_roll_back_supersedes_what_came_behind_and_charges_it(
    store: Store, create: Create, commit_log: CommitLog
) -> None:
    steps = (answer(1, CALLS[0]), result(2, CALLS[0]), answer(3, CALLS[1]), result(4, CALLS[1]))
    running = await recorded(store, await run(store, await create()), (*steps, answer(5)))
    await store.executions.advance(completed(running))
    resumed = (
        await store.executions.resume(Resume(WORKSPACE, running.id, 20, "cp_002", "key_1"))
    ).execution
    assert (resumed.status, resumed.completed_at, resumed.steps) == (Status.QUEUED, None, 2)
    assert (resumed.usage, resumed.charged_tokens) == (Usage(10, 5), 45)
    assert (resumed.output, resumed.superseded_to) == ("said 1", 5)
    assert await store.executions.get(WORKSPACE, running.id) == resumed
    assert await store.executions.steps(WORKSPACE, running.id) == steps[:2]
    checkpoints = await store.checkpoints.of(WORKSPACE, running.id)
    assert [(c.step, c.superseded) for c in checkpoints] == [
        (1, False),
        (2, False),
        (3, True),
        (4, True),
        (5, True),
    ]
    assert commit_log.runnable[-1] == resumed
    with pytest.raises(StaleWrite):
        await store.executions.advance(completed(running))
    with pytest.raises(Conflict):
        await store.executions.resume(Resume(WORKSPACE, running.id, 21, "cp_001"))


async def test_what_cannot_be_resumed_is_refused(
    store: Store, create: Create, clock: FakeClock
) -> None:
    running = await run(store, await create())
    with pytest.raises(Conflict):
        await store.executions.resume(Resume(WORKSPACE, running.id, 20))
    await store.executions.advance(completed(running))
    with pytest.raises(CheckpointNotFound):
        await store.executions.resume(Resume(WORKSPACE, running.id, 20, "cp_9"))
    with pytest.raises(ExecutionNotFound):
        await store.executions.resume(Resume(OTHER, running.id, 20))
    conversation = {"conversation_id": running.conversation_id, "new_conversation": False}
    await store.executions.create(new(clock, **conversation))
    with pytest.raises(ConversationBusy):
        await store.executions.resume(Resume(WORKSPACE, running.id, 20, "cp_9"))


async def test_of_resumes_at_once_one_starts_a_segment(
    store: Store, create: Create, commit_log: CommitLog
) -> None:
    running = await recorded(store, await run(store, await create()), (answer(1, CALLS[0]),))
    paused = replace(running, status=Status.PAUSED)
    await store.executions.advance(Advance(running, paused))
    earlier, refused = len(commit_log.runnable), []

    async def resume() -> None:
        try:
            await store.executions.resume(Resume(WORKSPACE, running.id, 20))
        except Conflict as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(resume)
    assert len(refused) == 7
    assert len(commit_log.runnable) == earlier + 1


async def test_the_state_is_that_of_the_newest_checkpoint_that_has_one(
    store: Store, create: Create
) -> None:
    running = await run(store, await create())
    for number, state in enumerate(({"n": 1}, None, {"n": 3}), 1):
        checkpoint = Checkpoint(f"cp_{number}", running.id, number, 6, state=state)
        await store.executions.advance(
            Advance(running, running, steps=(answer(number),), checkpoint=checkpoint)
        )
    assert (await store.executions.get(WORKSPACE, running.id)).state == {"n": 3}
    await store.executions.advance(completed(running))
    resumed = (await store.executions.resume(Resume(WORKSPACE, running.id, 20, "cp_2"))).execution
    assert resumed.state == {"n": 1}


async def test_a_checkpoint_remembers_which_steps_were_still_to_come(
    store: Store, create: Create
) -> None:
    running = await recorded(store, await run(store, await create()), (answer(1, *CALLS),))
    late = Checkpoint("cp_003", running.id, 3, 8, missing=(2,))
    await store.executions.advance(
        Advance(running, running, steps=(result(3, CALLS[1]),), checkpoint=late)
    )
    both = Checkpoint("cp_004", running.id, 3, 8)
    await store.executions.advance(
        Advance(running, running, steps=(result(2, CALLS[0]),), checkpoint=both)
    )
    await store.executions.advance(completed(running))
    await store.executions.resume(Resume(WORKSPACE, running.id, 20, "cp_003"))
    assert [s.number for s in await store.executions.steps(WORKSPACE, running.id)] == [1, 3]
    stands = [c.id for c in await store.checkpoints.of(WORKSPACE, running.id) if not c.superseded]
    assert stands == ["cp_001", "cp_003"]


async def test_an_execution_is_deleted_with_all_of_it_and_the_next_turn_begins(
    store: Store, create: Create, clock: FakeClock, commit_log: CommitLog
) -> None:
    execution = await waiting(store, await create(), CALLS[0])
    conversation = {"conversation_id": execution.conversation_id, "new_conversation": False}
    following = (await store.executions.create(new(clock, **conversation))).execution
    assert following.waiting
    with pytest.raises(ExecutionNotFound):
        await store.executions.delete(OTHER, execution.id)
    await store.executions.delete(WORKSPACE, execution.id)
    assert commit_log.runnable[-1].id == following.id
    for read in (store.executions.steps, store.waits.of, store.checkpoints.of):
        assert await read(WORKSPACE, execution.id) == ()
    assert await store.executions.log(WORKSPACE, execution.id, START, 9) == ()
    with pytest.raises(ExecutionNotFound):
        await store.executions.get(WORKSPACE, execution.id)
    turns = await store.conversations.turns(WORKSPACE, execution.conversation_id)
    assert [turn.execution.id for turn in turns] == [following.id]
    await store.executions.delete(WORKSPACE, following.id)
    with pytest.raises(ConversationNotFound):
        await store.conversations.get(WORKSPACE, execution.conversation_id)


async def test_a_segment_of_a_deleted_execution_writes_nothing(
    store: Store, create: Create
) -> None:
    execution = await create()
    running = await run(store, execution)
    await store.executions.delete(WORKSPACE, execution.id)
    with pytest.raises(StaleWrite):
        await store.executions.advance(completed(running))
    with pytest.raises(StaleWrite):
        await store.executions.advance(started(execution))


async def rolled_back(store: Store, running: Execution, approval: Wait, *, answered: bool) -> Wait:
    """The approval of an answer's only call, once the execution is back behind that answer."""
    steps = (answer(1, CALLS[0]), *((result(2, CALLS[0]),) if answered else ()))
    running = await recorded(store, running, steps)
    paused = replace(running, status=Status.PAUSED)
    await store.executions.advance(Advance(running, paused, waits=(approval,)))
    await store.executions.resume(Resume(WORKSPACE, running.id, 1000, "cp_001"))
    (found,) = await store.waits.of(WORKSPACE, running.id)
    return found


async def test_what_is_requested_again_has_all_its_time_again(store: Store, create: Create) -> None:
    running = await run(store, await create())
    decided = Wait(running.id, "tc_1", WaitKind.APPROVAL, "pay", {"a": 1}, 7, 9, True, due_at=67)
    again = await rolled_back(store, running, decided, answered=True)
    assert again.is_open
    assert (again.requested_at, again.due_at) == (1000, 1060)
    assert await store.waits.due(1059, 9) == []


async def test_a_call_that_may_have_run_needs_a_decision_again_as_it_ran(
    store: Store, create: Create
) -> None:
    running = await run(store, await create())
    kind, edited = WaitKind.UNKNOWN_OUTCOME, {"a": 3}
    earlier = Wait(running.id, "tc_1", kind, "pay", {"a": 1}, 7, 9, True, None, edited)
    again = await rolled_back(store, running, earlier, answered=True)
    assert (again.is_open, again.arguments) == (True, edited)


async def test_an_approved_call_that_has_not_run_is_not_begun_any_more(
    store: Store, create: Create
) -> None:
    running = await run(store, await create())
    kind = WaitKind.APPROVAL
    begun = Wait(running.id, "tc_1", kind, "pay", {"a": 1}, 7, 9, True, begun_at=10)
    found = await rolled_back(store, running, begun, answered=False)
    assert (found.approved, found.begun_at) == (True, None)


async def test_a_number_that_a_call_was_started_under_never_means_another(
    store: Store, create: Create
) -> None:
    running = await recorded(store, await run(store, await create()), (answer(1, *CALLS),))
    numbers = []
    for _ in range(3):
        first = running.superseded_to + 1 if running.superseded_to else 2
        numbers += [first, first + 1]
        done = Checkpoint(f"cp_{first:03d}", running.id, first, 6)
        step = replace(result(first, CALLS[0]), id=f"step_{first}")
        await store.executions.advance(Advance(running, running, steps=(step,), checkpoint=done))
        await store.executions.advance(Advance(running, replace(running, status=Status.PAUSED)))
        queued = (
            await store.executions.resume(Resume(WORKSPACE, running.id, 20, "cp_001"))
        ).execution
        running = await run(store, queued)
    assert len(set(numbers)) == len(numbers)
