"""Schedules in this process: what runs, what is made up for, what pauses."""

import asyncio
from dataclasses import replace

import pytest

from outlast.engine.maintenance.due_schedules import FORGET_RUNS, KEPT_MILLIS
from outlast.model.budget import Bounds
from outlast.model.error import AgentPaused, Conflict, InvalidField, QuotaExceeded
from outlast.model.execution import Budget, Status
from outlast.model.schedule import CatchUp, Definition, Overlap, PausedReason, Trigger
from outlast.services.budgets import SetBudget
from outlast.services.schedules import NewSchedule
from outlast.store.idempotency import Idempotency
from outlast.store.schedules.rows import schedule_runs
from tests.support.databases import Database
from tests.support.engine import MakeEngine
from tests.support.models import FakeModel, by_turn
from tests.support.schedules import ScheduleHouse, at
from tests.support.tools import spec
from tests.support.waiting import BOUND, between_looks

pytestmark = pytest.mark.anyio
HOUR, DAY = 3600.0, 86_400.0


async def test_a_due_schedule_starts_what_a_request_would_and_moves_on(
    house: ScheduleHouse,
) -> None:
    made = await house.make(
        input="Write the report.", metadata={"a": 1}, budget=Budget(max_steps=3)
    )
    assert await house.fire("2026-03-04T08:59:59.999Z") == 0
    assert await house.fire("2026-03-04T09:00:00.500Z") == 1
    assert await house.fire() == 0
    await house.end()
    (one,) = await house.executions()
    assert (one.input, one.metadata, one.budget) == (
        "Write the report.",
        {"a": 1},
        Budget(max_steps=3),
    )
    assert (one.status, one.output) == (Status.COMPLETED, "Good morning")
    assert (one.origin.schedule_id, one.origin.late) == (made.id, False)
    assert one.origin.scheduled_at == at("2026-03-04T09:00Z")
    assert one.key_id == house.caller.key_id
    (run,) = await house.runs(made)
    assert (run.execution_id, run.trigger, run.error) == (one.id, Trigger.SCHEDULE, None)
    after = await house.now(made)
    assert after.next_runs(2) == [at("2026-03-05T09:00Z"), at("2026-03-06T09:00Z")]
    assert after.last_run_at == house.clock.now()


@pytest.mark.parametrize(
    ("catch_up", "scheduled", "missed"),
    [
        (CatchUp.LAST, ["12:00"], [3]),
        (CatchUp.NONE, [], []),
        (CatchUp.ALL, ["09:00", "10:00", "11:00", "12:00"], [0, 0, 0, 0]),
    ],
)
async def test_what_was_missed_is_made_up_for_as_wanted(
    house: ScheduleHouse, catch_up: CatchUp, scheduled: list[str], missed: list[int]
) -> None:
    made = await house.make("0 * * * *", catch_up=catch_up, overlap=Overlap.ALLOW)
    await house.fire("2026-03-04T12:40Z")
    runs = await house.runs(made)
    assert [run.scheduled_at for run in runs] == [at(f"2026-03-04T{text}Z") for text in scheduled]
    assert [run.missed for run in runs] == missed
    assert all(run.late for run in runs)
    assert [one.origin.late for one in await house.executions()] == [True] * len(runs)
    assert (await house.now(made)).next_runs(1) == [at("2026-03-04T13:00Z")]
    await house.fire("2026-03-04T13:00:01Z")
    (*_, last) = await house.runs(made)
    assert (last.late, last.missed) == (False, 4 if catch_up is CatchUp.NONE else 0)


@pytest.mark.parametrize("catch_up", CatchUp)
async def test_what_is_older_than_the_window_is_not_made_up_for(
    house: ScheduleHouse, catch_up: CatchUp
) -> None:
    made = await house.make("0 9 * * MON", catch_up=catch_up, overlap=Overlap.ALLOW)
    await house.fire("2026-04-04T08:00Z")  # a month later, a Saturday
    assert await house.runs(made) == []
    assert (await house.now(made)).next_runs(1) == [at("2026-04-06T09:00Z")]
    await house.fire("2026-04-06T09:00Z")
    (run,) = await house.runs(made)
    assert (run.late, run.missed) == (False, 4)


async def test_a_month_of_minutes_is_bounded(house: ScheduleHouse) -> None:
    made = await house.make("* * * * *", catch_up=CatchUp.ALL, overlap=Overlap.ALLOW)
    await house.fire("2026-04-04T08:00:30Z")
    runs = await house.runs(made)
    assert len(runs) == 100
    assert (runs[0].missed, runs[-1].scheduled_at) == (100, at("2026-04-04T08:00Z"))


async def test_three_runs_that_cannot_start_pause_it(house: ScheduleHouse) -> None:
    made = await house.make("0 * * * *")
    agent = await house.core.services.agents.get(house.caller, "agent")
    await house.core.store.agents.retire(agent.workspace_id, agent.id, house.clock.now())
    for hour in ("09", "10", "11", "12"):
        await house.fire(f"2026-03-04T{hour}:00Z")
    runs = await house.runs(made)
    assert [run.error and run.error.code for run in runs] == ["agent_not_found"] * 3
    after = await house.now(made)
    assert (after.paused_reason, after.next_run) == (PausedReason.FAILURES, None)
    assert await house.executions() == []
    await house.core.store.agents.retire(agent.workspace_id, agent.id, None)
    resumed = await house.schedules.resume(house.caller, made.id)
    assert (resumed.failures, resumed.next_runs(1)) == (0, [at("2026-03-04T13:00Z")])


async def test_a_run_that_a_spent_budget_refuses_is_no_execution(house: ScheduleHouse) -> None:
    wanted = SetBudget(Bounds(tokens=1))
    await house.core.services.budgets.set(house.caller, "workspace", wanted)
    made = await house.make("0 * * * *")
    for hour in ("09", "10", "11", "12"):
        await house.fire(f"2026-03-04T{hour}:00Z")
    codes = [run.error and run.error.code for run in await house.runs(made)]
    assert codes == ["quota_exceeded"] * 3
    assert await house.executions() == []
    assert (await house.now(made)).paused_reason is PausedReason.FAILURES
    with pytest.raises(QuotaExceeded):
        await house.schedules.fire(house.caller, made.id, None, None)


async def test_a_conversation_that_is_gone_is_a_run_that_cannot_start(house: ScheduleHouse) -> None:
    await house.engine.start("Hello")
    await house.end()
    (turn,) = await house.executions()
    made = await house.make(conversation_id=turn.conversation_id, pause_after_failures=1)
    await house.core.services.conversations.delete(house.caller, turn.conversation_id)
    await house.fire("2026-03-04T09:00Z")
    (run,) = await house.runs(made)
    assert run.error is not None
    assert run.error.code == "conversation_not_found"
    assert (await house.now(made)).paused_reason is PausedReason.FAILURES


async def test_a_paused_agent_pauses_its_schedules_and_no_others(house: ScheduleHouse) -> None:
    made, other = await house.make("0 * * * *"), await house.make("0 * * * *")
    await house.schedules.pause(house.caller, other.id)
    await house.schedules.pause_agent(house.caller, "agent", paused=True)
    assert (await house.now(made)).paused_reason is PausedReason.AGENT_PAUSED
    await house.fire("2026-03-04T10:30Z")
    assert await house.executions() == []
    with pytest.raises(AgentPaused):
        await house.schedules.fire(house.caller, made.id, None, None)
    with pytest.raises(AgentPaused):
        await house.schedules.resume(house.caller, made.id)
    late = await house.make()
    assert late.paused_reason is PausedReason.AGENT_PAUSED
    await house.schedules.pause_agent(house.caller, "agent", paused=False)
    assert (await house.now(made)).next_runs(1) == [at("2026-03-04T11:00Z")]
    assert (await house.now(other)).paused_reason is PausedReason.REQUESTED
    assert (await house.now(late)).is_active


async def test_each_run_is_of_the_newest_version_and_one_that_is_live_keeps_its_own(
    house: ScheduleHouse,
) -> None:
    await house.make("0 * * * *", overlap=Overlap.ALLOW)
    await house.fire("2026-03-04T09:00Z")
    newer = replace(spec(), instructions="Be brief.")
    await house.core.services.agents.put(house.caller.workspace_id, [(newer, "2")])
    await house.fire("2026-03-04T10:00Z")
    await house.end()
    first, second = await house.executions()
    assert second.agent_version == first.agent_version + 1
    assert sorted(one.instructions for one in house.engine.model.requests) == [
        "Be brief.",
        "Be kind.",
    ]


async def test_runs_go_on_when_the_key_that_made_the_schedule_is_revoked(
    house: ScheduleHouse,
) -> None:
    made = await house.make("0 * * * *")
    await house.core.services.keys.revoke(house.caller.workspace_id, house.caller.key_id)
    await house.fire("2026-03-04T09:00Z")
    await house.end()
    (run,) = await house.runs(made)
    (one,) = await house.executions()
    assert (run.error, run.execution_id, one.status) == (None, one.id, Status.COMPLETED)


async def test_run_now_works_while_paused_and_keeps_the_next_time(house: ScheduleHouse) -> None:
    made = await house.make()
    await house.schedules.pause(house.caller, made.id)
    promise = Idempotency(house.caller.key_id, "once", "digest")
    fired = await house.schedules.fire(house.caller, made.id, None, promise)
    again = await house.schedules.fire(house.caller, made.id, None, promise)
    assert (fired.run, again.replayed) == (again.run, True)
    (run,) = await house.runs(made)
    (one,) = await house.executions()
    assert (run.trigger, run.scheduled_at, run.execution_id) == (Trigger.MANUAL, None, one.id)
    assert one.origin.scheduled_at is None
    with pytest.raises(Conflict, match="is live"):
        await house.schedules.fire(house.caller, made.id, None, None)
    await house.schedules.fire(house.caller, made.id, Overlap.ALLOW, None)
    assert len(await house.executions()) == 2
    assert (await house.now(made)).paused_reason is PausedReason.REQUESTED


async def test_run_now_may_wait_for_the_earlier_one(house: ScheduleHouse) -> None:
    made = await house.make(overlap=Overlap.QUEUE)
    await house.schedules.fire(house.caller, made.id, None, None)
    waiting = await house.schedules.fire(house.caller, made.id, None, None)
    assert (waiting.run, waiting.schedule.waiting) == (None, Trigger.MANUAL)
    with pytest.raises(Conflict, match="waits already"):
        await house.schedules.fire(house.caller, made.id, None, None)
    await house.schedules.pause(house.caller, made.id)
    assert await house.fire() == 0
    await house.end()
    assert await house.fire() == 1
    assert [run.trigger for run in await house.runs(made)] == [Trigger.MANUAL] * 2
    assert (await house.schedules.resume(house.caller, made.id)).next_runs(1) == made.next_runs(1)


async def test_a_clock_that_is_set_back_runs_no_time_twice(house: ScheduleHouse) -> None:
    made = await house.make()
    await house.fire("2026-03-04T09:00:10Z")
    house.clock.set_by(-HOUR)
    await house.fire()
    await house.schedules.change(house.caller, made.id, {"input": "Again"})
    await house.end()
    await house.fire("2026-03-04T09:00:10Z")
    assert len(await house.executions()) == 1
    assert (await house.now(made)).next_runs(1) == [at("2026-03-05T09:00Z")]


@pytest.mark.parametrize(
    ("cron", "expected"),
    [("0 9 * * *", "2026-03-05T09:00Z"), ("1 9 * * *", "2026-03-04T09:01Z")],
)
async def test_a_change_in_its_own_minute_counts_from_then_on(
    house: ScheduleHouse, cron: str, expected: str
) -> None:
    made = await house.make()
    await house.fire("2026-03-04T09:00:05Z")
    changed = await house.schedules.change(house.caller, made.id, {"cron": cron})
    assert changed.next_runs(1) == [at(expected)]
    assert await house.fire("2026-03-04T09:00:50Z") == 0


async def test_a_change_before_its_minute_runs_at_the_new_time_alone(house: ScheduleHouse) -> None:
    made = await house.make()
    house.clock.advance(HOUR - 0.01)
    new = {"cron": None, "times": ("10:00",)}
    await house.schedules.change(house.caller, made.id, new)
    assert await house.fire("2026-03-04T09:30Z") == 0
    assert await house.fire("2026-03-04T10:00Z") == 1


async def test_it_begins_and_ends_when_it_says(house: ScheduleHouse) -> None:
    made = await house.make(
        "0 * * * *", start_at=at("2026-03-04T10:00Z"), end_at=at("2026-03-04T11:00Z")
    )
    assert made.next_runs(5) == [at("2026-03-04T10:00Z"), at("2026-03-04T11:00Z")]
    for hour in ("09", "10", "11", "12"):
        await house.fire(f"2026-03-04T{hour}:00Z")
        await house.end()
    assert len(await house.executions()) == 2
    assert (await house.now(made)).paused_reason is PausedReason.ENDED
    with pytest.raises(Conflict, match="is left"):
        await house.schedules.resume(house.caller, made.id)
    later = {"end_at": at("2026-03-05T00:00Z")}
    assert (await house.schedules.change(house.caller, made.id, later)).is_active
    with pytest.raises(InvalidField, match="endAt"):
        await house.make(end_at=at("2026-03-04T09:00Z"))


async def test_jitter_delays_each_run_by_its_own_time_and_loses_none(house: ScheduleHouse) -> None:
    made = [
        await house.make("* * * * *", jitter_seconds=300, overlap=Overlap.ALLOW) for _ in range(5)
    ]
    delays = {one.next_at - one.next_run for one in made if one.next_at and one.next_run}
    assert len(delays) == 5
    assert all(0 <= delay < 60_000 for delay in delays)
    for second in range(1, 181, 3):
        await house.fire()
        house.clock.advance(3)
        assert second
    found = [run for one in made for run in await house.runs(one)]
    assert all(run.missed == 0 and not run.late for run in found)
    assert {run.scheduled_at for run in found} <= set(
        range(at("2026-03-04T08:01Z"), at("2026-03-04T08:04Z"), 60_000)
    )
    assert len(found) == len({(run.schedule_id, run.scheduled_at) for run in found}) >= 10


async def test_a_deleted_schedule_leaves_no_run_however_many_it_had(
    house: ScheduleHouse, database: Database
) -> None:
    made, other = await house.make(), await house.make()
    await house.fire("2026-03-04T09:00Z")
    names = ", ".join(c.name for c in schedule_runs.c if c.name not in {"id", "scheduled_at"})
    database.rows(
        "WITH RECURSIVE numbers (n) AS "
        "(SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2500) "
        f"INSERT INTO schedule_runs (id, scheduled_at, {names}) SELECT 'run_' || n, n, {names} "
        f"FROM schedule_runs, numbers WHERE schedule_id = '{made.id}'"
    )
    await house.schedules.delete(house.caller, made.id)
    left = database.rows("SELECT schedule_id FROM schedule_runs")
    assert left == [(other.id,)]


async def test_old_records_of_runs_are_deleted(house: ScheduleHouse) -> None:
    made = await house.make()
    await house.fire("2026-03-04T09:00Z")
    await house.end()
    await house.fire("2026-03-05T09:00Z")
    house.clock.advance((KEPT_MILLIS / 1000) - DAY)
    await house.core.maintenance.run(FORGET_RUNS)
    (left,) = await house.runs(made)
    assert left.scheduled_at == at("2026-03-05T09:00Z")


async def test_a_schedule_that_is_due_runs_by_itself_within_two_seconds(
    make_engine: MakeEngine,
) -> None:
    engine = await make_engine(FakeModel(by_turn(["Hello"])))
    request = NewSchedule("agent", Definition("* * * * *"))
    made, _ = await engine.core.services.schedules.create(engine.caller, request)
    assert made.next_run is not None
    engine.clock.advance((made.next_run - engine.clock.now()) / 1000)
    async with asyncio.timeout(BOUND):
        while (
            await engine.core.services.schedules.get(engine.caller, made.id)
        ).last_run_at is None:
            engine.clock.advance(0.05)
            await between_looks()
    after = await engine.core.services.schedules.get(engine.caller, made.id)
    assert after.last_run_at is not None
    assert after.last_run_at - made.next_run <= 2000
