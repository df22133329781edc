"""Schedules whose earlier run is live when the next time comes."""

import pytest

from outlast.model.error import InvalidField
from outlast.model.execution import Status
from outlast.model.schedule import CatchUp, Overlap, Trigger
from outlast.store.schedules.fire import Firing
from outlast.store.schedules.store import FireNow
from tests.support.databases import Database
from tests.support.schedules import ScheduleHouse, at

pytestmark = pytest.mark.anyio


async def test_overlap_skip_leaves_the_time_out_and_says_so(house: ScheduleHouse) -> None:
    made = await house.make("0 * * * *")
    await house.fire("2026-03-04T09:00Z")
    await house.fire("2026-03-04T10:00Z")
    first, second = await house.runs(made)
    assert second.error is not None
    assert (first.error, second.error.code, second.execution_id) == (None, "skipped", None)
    await house.end()
    await house.fire("2026-03-04T11:00Z")
    assert len(await house.executions()) == 2
    assert (await house.now(made)).failures == 0


@pytest.mark.parametrize("catch_up", CatchUp)
async def test_overlap_queue_runs_it_once_the_earlier_one_has_ended(
    house: ScheduleHouse, catch_up: CatchUp
) -> None:
    made = await house.make("0 * * * *", overlap=Overlap.QUEUE, catch_up=catch_up)
    for hour in ("09", "10", "11"):
        await house.fire(f"2026-03-04T{hour}:00Z")
        await house.fire()
    assert len(await house.executions()) == 1
    assert (await house.now(made)).waiting is Trigger.SCHEDULE
    await house.end()
    await house.fire()
    await house.end()
    await house.fire()
    found = [run.scheduled_at for run in await house.runs(made)]
    wanted = ["09", "10", "11"] if catch_up is CatchUp.ALL else ["09", "11"]
    assert found == [at(f"2026-03-04T{hour}:00Z") for hour in wanted]
    after = await house.now(made)
    assert (after.waiting, after.next_runs(1)) == (None, [at("2026-03-04T12:00Z")])


async def test_overlap_cancel_ends_the_earlier_one(house: ScheduleHouse) -> None:
    await house.make("0 * * * *", overlap=Overlap.CANCEL)
    await house.fire("2026-03-04T09:00Z")
    await house.fire("2026-03-04T10:00Z")
    first, second = await house.executions()
    await house.engine.rest(first.id)
    await house.end()
    found = [one.status for one in await house.executions()]
    assert found == [Status.CANCELLED, Status.COMPLETED]
    assert second.origin.scheduled_at == at("2026-03-04T10:00Z")


async def test_overlap_allow_runs_both(house: ScheduleHouse) -> None:
    await house.make("0 * * * *", overlap=Overlap.ALLOW)
    await house.fire("2026-03-04T09:00Z")
    await house.fire("2026-03-04T10:00Z")
    assert len({one.conversation_id for one in await house.executions()}) == 2


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE, Overlap.CANCEL])
async def test_a_turn_of_its_conversation_counts_as_an_earlier_run(
    house: ScheduleHouse, overlap: Overlap
) -> None:
    by_hand = await house.engine.start("Hello")
    (turn,) = await house.executions()
    made = await house.make(
        "0 * * * *", overlap=overlap, catch_up=CatchUp.ALL, conversation_id=turn.conversation_id
    )
    await house.fire("2026-03-05T08:00Z")  # two dozen times have passed
    live = [one for one in await house.executions() if one.status is not Status.CANCELLED]
    assert len(live) <= 2  # what is being cancelled may still run
    if overlap is not Overlap.CANCEL:
        assert [one.id for one in live] == [by_hand]
    await house.end()
    await house.fire("2026-03-05T09:00:01Z")
    newest = (await house.executions())[-1]
    assert (newest.origin.schedule_id, newest.conversation_id) == (made.id, turn.conversation_id)


async def test_overlap_cancel_ends_what_rests_and_what_waits_behind_it(
    house: ScheduleHouse,
) -> None:
    await house.engine.start("Hello")
    (turn,) = await house.executions()
    await house.engine.core.services.executions.pause(house.caller, turn.id, now=True)
    of = turn.conversation_id
    made = await house.make("0 * * * *", overlap=Overlap.CANCEL, conversation_id=of)
    firing = Firing(house.clock.now(), house.clock.new_id, lambda _: (), 9)
    behind = FireNow(house.caller.workspace_id, made.id, Overlap.ALLOW)
    await house.core.store.schedules.fire_now(firing, behind)
    await house.fire("2026-03-04T09:00Z")
    found = await house.executions()
    assert [one.turn for one in found] == [1, 2, 3]
    assert [one.status for one in found[:2]] == [Status.CANCELLED] * 2
    await house.end()
    assert (await house.executions())[2].status is Status.COMPLETED


async def test_a_run_for_which_a_conversation_has_no_place_leaves_it_as_it_is(
    house: ScheduleHouse, database: Database
) -> None:
    await house.engine.start("Hello")
    (turn,) = await house.executions()
    made = await house.make("0 * * * *", conversation_id=turn.conversation_id)
    firing = Firing(house.clock.now(), house.clock.new_id, lambda _: (), 1)
    request = FireNow(house.caller.workspace_id, made.id, Overlap.ALLOW)
    fired = await house.core.store.schedules.fire_now(firing, request)
    assert fired.run is not None
    assert fired.run.error is not None
    assert fired.run.error.code == "rate_limit_exceeded"
    assert database.rows("SELECT turns FROM conversations") == [(1,)]
    await house.end()
    await house.fire("2026-03-04T09:00Z")
    assert [one.turn for one in await house.executions()] == [1, 2]


async def test_runs_of_one_conversation_are_never_at_the_same_time(house: ScheduleHouse) -> None:
    await house.engine.start("Hello")
    (turn,) = await house.executions()
    with pytest.raises(InvalidField, match="use queue"):
        await house.make(overlap=Overlap.ALLOW, conversation_id=turn.conversation_id)
    await house.end()
    both = [await house.make(conversation_id=turn.conversation_id) for _ in range(2)]
    await house.fire("2026-03-04T09:00Z")
    await house.fire()
    outcomes = {run.error and run.error.code for one in both for run in await house.runs(one)}
    assert outcomes == {None, "skipped"}
