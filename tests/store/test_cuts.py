"""The store's port, turns that a client has cut: one suite for every implementation."""

from dataclasses import replace
from typing import Any

import pytest

from outlast.model.error import Conflict, ConversationBusy, ConversationNotFound, ExecutionNotFound
from outlast.model.execution import Execution, Failure, OnBusy, RequestContext, Status
from outlast.store.executions.values import Advance, Created, Cut, Resume
from outlast.store.store import Store
from outlast.testing import FakeClock
from tests.support.store import WORKSPACE, Create, completed, new, run

pytestmark = pytest.mark.anyio
SAYS_SO = Cut(explicit=True)
SAYS_NOTHING = Cut(explicit=False)


async def talk(store: Store, create: Create, *messages: str) -> list[Execution]:
    """A conversation whose turns have ended, each sent as the message of this id."""
    made: list[Execution] = []
    more: dict[str, Any] = {}
    for message in messages:
        one = await create(
            input=f"say {message}", origin=RequestContext(message_id=message), **more
        )
        more = {"conversation_id": one.conversation_id, "new_conversation": False}
        await store.executions.advance(completed(await run(store, one)))
        made.append(one)
    return made


async def said(
    store: Store, clock: FakeClock, first: Execution, message: str | None, cut: Cut, **more: Any
) -> Created:
    given = {
        "conversation_id": first.conversation_id,
        "new_conversation": False,
        "origin": RequestContext(message_id=message),
        "cut": cut,
        "input": f"say {message}",
    }
    return await store.executions.create(new(clock, **(given | more)))


async def standing(store: Store, first: Execution) -> list[str]:
    turns = await store.conversations.turns(WORKSPACE, first.conversation_id)
    return [turn.execution.id for turn in turns]


async def test_a_message_that_is_sent_again_cuts_its_turn_and_all_behind_it(
    store: Store, create: Create, clock: FakeClock
) -> None:
    one, two, three = await talk(store, create, "u1", "u2", "u3")
    created = await said(store, clock, one, "u2", SAYS_SO)
    assert await standing(store, one) == [one.id, created.execution.id]
    for cut in (two, three):
        row = await store.executions.get(WORKSPACE, cut.id)
        assert (row.superseded, row.status) == (True, Status.COMPLETED)
    assert created.execution.turn == 4
    assert not (await store.executions.get(WORKSPACE, created.execution.id)).superseded
    history = await store.conversations.turns(
        WORKSPACE, one.conversation_id, created.execution.turn
    )
    assert [turn.execution.id for turn in history] == [one.id]


async def test_what_is_cut_stays_cut_while_it_moves_on(
    store: Store, create: Create, clock: FakeClock
) -> None:
    first = await create(origin=RequestContext(message_id="u1"))
    running = await run(store, first)
    created = await said(store, clock, first, "u1", SAYS_SO)
    assert created.interrupted == (running,)
    assert created.execution.waiting
    assert (await store.executions.requested()).cancel == (first.id,)
    await store.executions.advance(completed(running))
    row = await store.executions.get(WORKSPACE, first.id)
    assert (row.superseded, row.status) == (True, Status.COMPLETED)
    assert not (await store.executions.get(WORKSPACE, created.execution.id)).waiting


async def test_what_waits_behind_the_cut_is_cancelled_and_what_is_live_before_it_goes_on(
    store: Store, create: Create, clock: FakeClock
) -> None:
    first = await create(origin=RequestContext(message_id="u1"))
    running = await run(store, first)
    second = (await said(store, clock, first, "u2", SAYS_NOTHING)).execution
    third = (await said(store, clock, first, "u3", SAYS_NOTHING)).execution
    created = await said(store, clock, first, "u2", SAYS_SO)
    assert (created.interrupted, created.execution.waiting) == ((), True)
    statuses = [
        (await store.executions.get(WORKSPACE, e.id)).status for e in (first, second, third)
    ]
    assert statuses == [Status.RUNNING, Status.CANCELLED, Status.CANCELLED]
    await store.executions.advance(completed(running))
    assert not (await store.executions.get(WORKSPACE, created.execution.id)).waiting
    assert await standing(store, first) == [first.id, created.execution.id]


async def test_an_edited_message_is_heard_once_however_often_it_is_edited(
    store: Store, create: Create, clock: FakeClock
) -> None:
    one, _ = await talk(store, create, "u1", "u2")
    newest = one
    for text in ("first", "second", "third"):
        newest = (await said(store, clock, one, "u1", SAYS_NOTHING, input=text)).execution
        await store.executions.advance(completed(await run(store, newest)))
    assert await standing(store, one) == [newest.id]


async def test_a_request_that_comes_again_starts_nothing(
    store: Store, create: Create, clock: FakeClock
) -> None:
    one, two = await talk(store, create, "u1", "u2")
    again = await said(store, clock, one, "u2", SAYS_NOTHING)
    assert (again.replayed, again.execution.id) == (True, two.id)
    assert (await store.conversations.get(WORKSPACE, one.conversation_id)).turns == 2
    late = await said(store, clock, one, "u1", SAYS_NOTHING)
    assert not late.replayed
    assert await standing(store, one) == [late.execution.id]


@pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
async def test_a_message_whose_run_was_in_vain_is_run_again(
    store: Store, create: Create, clock: FakeClock, status: Status
) -> None:
    first = await create(input="say u1", origin=RequestContext(message_id="u1"))
    running = await run(store, first)
    error = Failure("t", "c", "m") if status is Status.FAILED else None
    ended = replace(running, status=status, completed_at=9, error=error)
    await store.executions.advance(Advance(running, ended))
    again = await said(store, clock, first, "u1", SAYS_NOTHING)
    assert not again.replayed
    assert await standing(store, first) == [again.execution.id]


@pytest.mark.parametrize("message", ["u4", None])
async def test_a_message_that_is_not_known_cuts_nothing(
    store: Store, create: Create, clock: FakeClock, message: str | None
) -> None:
    made = await talk(store, create, "u1", "u2", "u3")
    created = await said(store, clock, made[0], message, SAYS_NOTHING)
    unsure = await said(store, clock, made[0], message and "u5", SAYS_SO)
    assert not created.execution.superseded
    stands = await standing(store, made[0])
    assert stands == [*(one.id for one in made), created.execution.id, unsure.execution.id]


async def test_an_answer_s_id_or_the_last_answer_that_is_left_say_where_the_cut_is(
    store: Store, create: Create, clock: FakeClock
) -> None:
    one, two, three = await talk(store, create, "u1", "u2", "u3")
    named = replace(SAYS_SO, execution_id=three.id)
    third = (await said(store, clock, one, "x", named)).execution
    assert await standing(store, one) == [one.id, two.id, third.id]
    behind = replace(SAYS_SO, execution_id=three.id, behind=one.id)  # three is cut already
    second = (await said(store, clock, one, "y", behind)).execution
    assert await standing(store, one) == [one.id, second.id]
    elsewhere = (await talk(store, create, "u1"))[0]
    await said(store, clock, one, "z", replace(SAYS_SO, execution_id=elsewhere.id))
    assert len(await standing(store, one)) == 3
    assert await standing(store, elsewhere) == [elsewhere.id]


async def test_the_newest_turn_is_found_by_its_text_where_its_message_had_no_id(
    store: Store, create: Create, clock: FakeClock
) -> None:
    one = await create(input="Hi")
    await store.executions.advance(completed(await run(store, one)))
    same = replace(SAYS_SO, same_input=True)
    other = (await said(store, clock, one, "u1", same, input="Ho")).execution
    assert await standing(store, one) == [one.id, other.id]
    again = (await said(store, clock, one, None, same, input="Ho")).execution
    assert await standing(store, one) == [one.id, again.id]


async def test_a_cut_that_is_required_names_a_turn_that_stands(
    store: Store, create: Create, clock: FakeClock
) -> None:
    one, two = await talk(store, create, "u1", "u2")
    required = Cut(explicit=True, execution_id=two.id, required=True)
    await said(store, clock, one, None, required)
    with pytest.raises(Conflict):
        await said(store, clock, one, None, required)
    (elsewhere,) = await talk(store, create, "u1")
    for missing in (elsewhere.id, clock.new_id("exec")):
        with pytest.raises(ExecutionNotFound):
            await said(store, clock, one, None, replace(required, execution_id=missing))
    with pytest.raises(ConversationNotFound):
        await said(store, clock, one, "u1", SAYS_SO, conversation_id=clock.new_id("conv"))
    assert len(await standing(store, one)) == 2


async def test_what_is_cut_does_not_keep_a_conversation_busy(
    store: Store, create: Create, clock: FakeClock
) -> None:
    first = await create(origin=RequestContext(message_id="u1"))
    await said(store, clock, first, "u2", SAYS_NOTHING)
    rejecting = {"on_busy": OnBusy.REJECT}
    with pytest.raises(ConversationBusy):
        await said(store, clock, first, "u2", SAYS_SO, **rejecting)
    created = await said(store, clock, first, "u1", SAYS_SO, **rejecting)
    assert await standing(store, first) == [created.execution.id]
    assert not created.execution.waiting


async def test_a_deleted_conversation_forgets_what_was_cut_too(
    store: Store, create: Create, clock: FakeClock
) -> None:
    (one,) = await talk(store, create, "u1")
    again = (await said(store, clock, one, "u1", SAYS_SO)).execution
    await store.executions.advance(completed(await run(store, again)))
    await store.conversations.delete(WORKSPACE, one.conversation_id, clock.now())
    for execution in (one, again):
        row = await store.executions.get(WORKSPACE, execution.id)
        assert (row.is_purged, row.input) == (True, "")


@pytest.mark.parametrize("only", [frozenset(Status), frozenset({Status.FAILED, Status.COMPLETED})])
async def test_what_was_cut_is_not_resumed_and_what_stands_is(
    store: Store, create: Create, clock: FakeClock, only: frozenset[Status]
) -> None:
    one, two = await talk(store, create, "u1", "u2")
    created = await said(store, clock, one, "u2", SAYS_SO)
    standing_now = await run(store, created.execution)
    await store.executions.advance(completed(standing_now))
    for execution in (two,):
        checkpoints = await store.checkpoints.of(WORKSPACE, execution.id)
        for chosen in (None, *(point.id for point in checkpoints)):
            resume = Resume(WORKSPACE, execution.id, clock.now(), chosen, "key_1", only)
            with pytest.raises(Conflict, match="Another turn has taken this execution's place"):
                await store.executions.resume(resume)
        assert (await store.executions.get(WORKSPACE, execution.id)).status is Status.COMPLETED
    failed = await create(conversation_id=one.conversation_id, new_conversation=False)
    running = await run(store, failed)
    await store.executions.advance(
        Advance(
            running,
            replace(
                running,
                status=Status.FAILED,
                error=Failure("execution_error", "x", "x"),
                completed_at=clock.now(),
            ),
        )
    )
    resume = Resume(WORKSPACE, failed.id, clock.now(), None, "key_1", only)
    assert (await store.executions.resume(resume)).execution.status is Status.QUEUED


async def test_a_failed_turn_that_was_cut_is_not_resumed(
    store: Store, create: Create, clock: FakeClock
) -> None:
    first = await create(origin=RequestContext(message_id="u1"))
    running = await run(store, first)
    error = Failure("execution_error", "x", "x")
    after = replace(running, status=Status.FAILED, error=error, completed_at=clock.now())
    await store.executions.advance(Advance(running, after))
    await said(store, clock, first, "u1", SAYS_SO)
    with pytest.raises(Conflict, match="resume the turn that stands"):
        await store.executions.resume(Resume(WORKSPACE, first.id, clock.now(), None, "key_1"))
