"""The store's port, waits for a client, a child and a time beside approvals: on every database."""

from dataclasses import replace
from itertools import permutations

import anyio
import pytest

from outlast.model.error import (
    ApprovalNotFound,
    Conflict,
    ExecutionNotFound,
    NotFound,
    OutlastError,
    Refused,
)
from outlast.model.event import START, ExecutionCancelled, ExecutionSuspended
from outlast.model.execution import (
    OUR_MISTAKE,
    TERMINAL,
    Status,
    at_rest,
)
from outlast.model.wait import AWAITED, Awaiting, CallResult, Decision, Wait, WaitKind
from outlast.store.executions.lists import ExecutionFilter
from outlast.store.executions.values import Advance, ForcedFailure
from outlast.store.page import Page
from outlast.store.store import Store
from outlast.store.waits.store import PendingPage
from tests.support.store import OTHER, WORKSPACE, CommitLog, Create, run
from tests.support.waits import (
    DUE,
    RESULTS,
    Suspend,
    decide,
    decision_of,
    paused,
    wait,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", WaitKind)
async def test_the_decision_of_the_only_wait_lets_the_execution_go_on(
    store: Store, suspend: Suspend, commit_log: CommitLog, kind: WaitKind
) -> None:
    execution = await suspend(wait(kind))
    assert (execution.status, execution.awaiting) == (Status.SUSPENDED, AWAITED[kind])
    assert await store.waits.of(WORKSPACE, execution.id) == (
        replace(wait(kind), execution_id=execution.id),
    )
    before = len(commit_log.runnable)
    decided = await store.waits.decide(decide(execution, decision_of(kind)))
    assert (decided.decided_at, decided.decided_by, decided.approved) == (9, "key_1", True)
    assert await store.waits.of(WORKSPACE, execution.id) == (decided,)
    went_on = await store.executions.get(WORKSPACE, execution.id)
    assert (went_on.status, went_on.awaiting) == (Status.QUEUED, None)
    assert commit_log.runnable[before:] == [went_on]
    log = await store.executions.log(WORKSPACE, execution.id, START, 99)
    kinds = [entry.event.kind for entry in log]
    assert (kinds[-1] == "approval.resolved") == decided.is_approval


@pytest.mark.parametrize("kind", RESULTS)
@pytest.mark.parametrize("result", [None, "text", {"a": [1, None]}, 0, False])
async def test_a_result_is_kept_whatever_json_it_is(
    store: Store, suspend: Suspend, kind: WaitKind, result: object
) -> None:
    execution = await suspend(wait(kind))
    for is_error in (False, True):
        other = await suspend(wait(kind))
        given = await store.waits.decide(decide(other, CallResult(result, is_error=is_error)))
        assert (given.has_result, given.result, given.is_error) == (True, result, is_error)
        assert await store.waits.of(WORKSPACE, other.id) == (given,)
    assert (await store.executions.get(WORKSPACE, execution.id)).status is Status.SUSPENDED


@pytest.mark.parametrize("kind", RESULTS)
async def test_a_result_that_came_before_the_suspension_lets_it_go_on(
    store: Store, create: Create, commit_log: CommitLog, kind: WaitKind
) -> None:
    running = await run(store, await create())
    opened = wait(kind, of=running.id)
    await store.executions.advance(Advance(running, running, waits=(opened,)))
    await store.waits.decide(decide(running, CallResult("early")))
    suspended = replace(running, status=Status.SUSPENDED, awaiting=AWAITED[kind])
    await store.executions.advance(Advance(running, suspended, ((8, ExecutionSuspended()),)))
    after = await store.executions.get(WORKSPACE, running.id)
    assert (after.status, after.awaiting) == (Status.QUEUED, None)
    assert commit_log.runnable[-1] == after


@pytest.mark.parametrize("kind", RESULTS)
async def test_the_same_result_again_is_no_other_and_another_is_refused(
    store: Store, suspend: Suspend, commit_log: CommitLog, kind: WaitKind
) -> None:
    execution = await suspend(wait(kind))
    first = await store.waits.decide(decide(execution, CallResult({"b": 2})))
    before = len(commit_log.committed)
    assert await store.waits.decide(decide(execution, CallResult({"b": 2}), at=11)) == first
    for other in (CallResult({"b": 3}), CallResult({"b": 2}, is_error=True), CallResult(None)):
        with pytest.raises(Conflict):
            await store.waits.decide(decide(execution, other))
    assert await store.waits.decide(decide(execution, None, at=10 * DUE)) == first
    assert commit_log.committed[before:] == []


@pytest.mark.parametrize("kind", WaitKind)
async def test_of_results_at_once_the_first_stands_and_wakes_once(
    store: Store, suspend: Suspend, commit_log: CommitLog, kind: WaitKind
) -> None:
    execution = await suspend(wait(kind))
    before = len(commit_log.runnable)
    decided: list[Wait] = []
    refused: list[OutlastError] = []

    async def give(number: int) -> None:
        positive = bool(number % 2)
        person = AWAITED[kind] is Awaiting.PERSON
        decision = Decision(positive) if person else CallResult(positive)
        try:
            decided.append(await store.waits.decide(decide(execution, decision)))
        except Conflict as error:
            refused.append(error)

    async with anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(give, number)
    assert (len(decided), len(refused)) == (5, 5)
    assert len(set(map(repr, decided))) == 1
    assert len(commit_log.runnable) == before + 1


@pytest.mark.parametrize("kind", WaitKind)
async def test_a_wait_takes_no_decision_of_another_kind(
    store: Store, suspend: Suspend, kind: WaitKind
) -> None:
    execution = await suspend(wait(kind))
    if AWAITED[kind] is Awaiting.PERSON:
        with pytest.raises(NotFound):
            await store.waits.decide(decide(execution, CallResult("mine")))
    else:
        with pytest.raises(ApprovalNotFound):
            await store.waits.decide(decide(execution, Decision(approved=True)))
    with pytest.raises(NotFound):
        await store.waits.decide(decide(execution, CallResult("mine"), call="tc_9"))
    assert (await store.executions.get(WORKSPACE, execution.id)).status is Status.SUSPENDED


PARTIES = (WaitKind.APPROVAL, WaitKind.CLIENT, WaitKind.CHILD, WaitKind.TIMER)


async def test_whoever_is_left_is_awaited_and_the_last_lets_it_go_on(
    store: Store, suspend: Suspend, commit_log: CommitLog
) -> None:
    for order in permutations(PARTIES):
        execution = await suspend(*(wait(kind, f"tc_{kind}") for kind in PARTIES))
        before = len(commit_log.runnable)
        left = set(PARTIES)
        for kind in order:
            left.discard(kind)
            request = decide(execution, decision_of(kind), call=f"tc_{kind}")
            await store.waits.decide(request)
            row = await store.executions.get(WORKSPACE, execution.id)
            first = next((p for p in Awaiting if p in {AWAITED[one] for one in left}), None)
            assert row.awaiting == first, order
            assert row.status is (Status.SUSPENDED if left else Status.QUEUED)
            last_commit = commit_log.committed[-1].execution
            assert last_commit is not None
            assert (last_commit.status, last_commit.awaiting) == (row.status, row.awaiting)
            assert len(commit_log.runnable) == before + (not left)


async def test_two_children_that_end_at_once_wake_their_parent_once(
    store: Store, suspend: Suspend, commit_log: CommitLog
) -> None:
    calls = [f"tc_{number}" for number in range(8)]
    execution = await suspend(*(wait(WaitKind.CHILD, call) for call in calls))
    before = len(commit_log.runnable)
    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(store.waits.decide, decide(execution, CallResult(call), call))
    assert len(commit_log.runnable) == before + 1
    assert (await store.executions.get(WORKSPACE, execution.id)).status is Status.QUEUED


async def test_a_suspension_that_knows_less_than_the_store_is_put_right_in_its_commit(
    store: Store, create: Create
) -> None:
    running = await run(store, await create())
    opened = (
        wait(WaitKind.APPROVAL, "tc_1", running.id),
        wait(WaitKind.CHILD, "tc_2", running.id, step=3),
    )
    await store.executions.advance(Advance(running, running, waits=opened))
    await store.waits.decide(decide(running, Decision(approved=True)))
    stale = replace(running, status=Status.SUSPENDED, awaiting=Awaiting.PERSON)
    await store.executions.advance(Advance(running, stale, ((8, ExecutionSuspended()),)))
    row = await store.executions.get(WORKSPACE, running.id)
    assert (row.status, row.awaiting) == (Status.SUSPENDED, Awaiting.CHILD)


async def test_a_child_that_waits_for_a_person_makes_its_parent_wait_for_one(
    store: Store, suspend: Suspend
) -> None:
    asking = replace(wait(WaitKind.CHILD), child_awaits=Awaiting.PERSON)
    execution = await suspend(asking, wait(WaitKind.CLIENT, "tc_2", step=3))
    assert execution.awaiting is Awaiting.PERSON
    found = await store.waits.of(WORKSPACE, execution.id)
    assert [one.child_awaits for one in found] == [Awaiting.PERSON, None]
    assert await store.waits.pending(WORKSPACE, PendingPage(9)) == []
    await store.waits.decide(decide(execution, CallResult("ended")))
    assert (await store.executions.get(WORKSPACE, execution.id)).awaiting is Awaiting.CLIENT


async def test_only_what_waits_for_a_person_is_listed_as_an_approval(
    store: Store, suspend: Suspend
) -> None:
    execution = await suspend(*(wait(kind, f"tc_{kind}") for kind in WaitKind))
    found = await store.waits.pending(WORKSPACE, PendingPage(9))
    assert {one.kind for one in found} == {WaitKind.APPROVAL, WaitKind.UNKNOWN_OUTCOME}
    (first, second) = found
    behind = PendingPage(1, (execution.id, first.tool_call_id))
    assert await store.waits.pending(WORKSPACE, behind) == [second]


@pytest.mark.parametrize("kind", RESULTS)
async def test_another_workspace_decides_nothing(
    store: Store, suspend: Suspend, kind: WaitKind
) -> None:
    execution = await suspend(wait(kind))
    for decision in (CallResult("theirs"), None):
        foreign = replace(decide(execution, decision, at=99), workspace_id=OTHER)
        with pytest.raises(ExecutionNotFound):
            await store.waits.decide(foreign)
    assert (await store.waits.of(OTHER, execution.id)) == ()
    (found,) = await store.waits.of(WORKSPACE, execution.id)
    assert found.is_open


@pytest.mark.parametrize("kind", WaitKind)
async def test_what_has_ended_takes_no_result_and_awaits_nothing(
    store: Store, suspend: Suspend, kind: WaitKind
) -> None:
    execution = await suspend(wait(kind))
    ended = at_rest(execution, Status.CANCELLED, 20)
    await store.executions.advance(Advance(execution, ended, ((20, ExecutionCancelled()),)))
    with pytest.raises(Conflict):
        await store.waits.decide(decide(execution, decision_of(kind)))
    assert await store.waits.due(10 * DUE, 9) == []
    assert (await store.executions.get(WORKSPACE, execution.id)).awaiting is None


async def test_a_forced_failure_awaits_nothing(store: Store, suspend: Suspend) -> None:
    execution = await suspend(wait(WaitKind.CHILD))
    failure = ForcedFailure(WORKSPACE, execution.id, 20, OUR_MISTAKE, resting=True)
    assert await store.executions.force_failure(failure)
    failed = await store.executions.get(WORKSPACE, execution.id)
    assert (failed.status, failed.awaiting) == (Status.FAILED, None)


async def test_a_cancel_that_met_the_suspension_ends_it(store: Store, create: Create) -> None:
    running = await run(store, await create())
    await store.executions.request_cancel(WORKSPACE, running.id)
    opened = wait(WaitKind.CHILD, of=running.id)
    suspended = replace(running, status=Status.SUSPENDED, awaiting=Awaiting.CHILD)
    await store.executions.advance(Advance(running, suspended, waits=(opened,)))
    ended = await store.executions.get(WORKSPACE, running.id)
    assert (ended.status, ended.awaiting) == (Status.CANCELLED, None)


@pytest.mark.parametrize("kind", RESULTS)
async def test_a_deleted_execution_takes_its_waits_along(
    store: Store, suspend: Suspend, kind: WaitKind
) -> None:
    execution = await suspend(wait(kind))
    await store.executions.delete(WORKSPACE, execution.id)
    assert await store.waits.of(WORKSPACE, execution.id) == ()
    assert await store.waits.due(10 * DUE, 9) == []
    with pytest.raises(ExecutionNotFound):
        await store.waits.decide(decide(execution, CallResult("late")))


async def test_a_timer_is_due_at_its_time_and_decided_then(store: Store, suspend: Suspend) -> None:
    execution = await suspend(wait(WaitKind.TIMER))
    expected = replace(wait(WaitKind.TIMER), execution_id=execution.id)
    assert await store.waits.due(DUE - 1, 9) == []
    assert (await store.waits.decide(decide(execution, None, at=DUE - 1))).is_open
    assert await store.waits.due(DUE, 9) == [(WORKSPACE, expected)]
    over = await store.waits.decide(decide(execution, None, at=DUE))
    assert (over.result, over.has_result, over.is_error) == (None, True, False)
    assert (over.decided_at, over.decided_by) == (DUE, None)
    assert await store.waits.due(10 * DUE, 9) == []
    assert (await store.executions.get(WORKSPACE, execution.id)).status is Status.QUEUED


@pytest.mark.parametrize("kind", [WaitKind.CLIENT, WaitKind.INPUT, WaitKind.CHILD])
async def test_who_is_late_gives_an_error_that_names_who(
    store: Store, suspend: Suspend, kind: WaitKind
) -> None:
    execution = await suspend(replace(wait(kind), due_at=DUE))
    late = await store.waits.decide(decide(execution, None, at=DUE + 1))
    assert late.is_error
    assert ("child" if kind is WaitKind.CHILD else "client") in late.result


async def test_a_timer_without_a_time_is_refused(store: Store, create: Create) -> None:
    running = await run(store, await create())
    endless = replace(wait(WaitKind.TIMER, of=running.id), due_at=None)
    with pytest.raises(Refused):
        await store.executions.advance(Advance(running, running, waits=(endless,)))
    assert await store.waits.of(WORKSPACE, running.id) == ()


async def test_a_list_by_status_holds_what_it_shows(
    store: Store, suspend: Suspend, create: Create
) -> None:
    made = [await create(), await run(store, await create())]
    made += [await suspend(wait(kind)) for kind in WaitKind]
    made.append(await paused(store, await suspend(wait(WaitKind.CHILD))))
    ended = at_rest(await suspend(wait(WaitKind.TIMER)), Status.CANCELLED, 40)
    before = await store.executions.get(WORKSPACE, ended.id)
    await store.executions.advance(Advance(before, ended, ((40, ExecutionCancelled()),)))
    rows = await store.executions.page(WORKSPACE, ExecutionFilter(), Page(99))
    assert len(rows) == len(made) + 1
    for word in Status:
        wanted = ExecutionFilter(status=(word,))
        found = await store.executions.page(WORKSPACE, wanted, Page(99))
        listed = await store.executions.listed(WORKSPACE, wanted, Page(99))
        assert found == [row for row in rows if row.shown_status is word], word
        assert [one.execution.id for one in listed] == [row.id for row in found]
    live = ExecutionFilter(status=(Status.RUNNING, Status.SUSPENDED, Status.PAUSED))
    found = await store.executions.page(WORKSPACE, live, Page(99))
    assert found == [row for row in rows if row.shown_status in live.status]
    shown = {row.awaiting: row.shown_status for row in rows if row.awaiting is not None}
    assert shown == {
        Awaiting.PERSON: Status.SUSPENDED,
        Awaiting.CLIENT: Status.SUSPENDED,
        Awaiting.CHILD: Status.RUNNING,
        Awaiting.TIME: Status.RUNNING,
    }
    assert not [row for row in rows if row.status in TERMINAL and row.awaiting]
